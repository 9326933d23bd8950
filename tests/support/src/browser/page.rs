//! One page of a browser.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Look;
use super::pipe::{PATIENCE, Pipe};

/// A page that a browser shows.
#[derive(Debug)]
pub struct Page {
    pipe: Arc<Pipe>,
    session: String,
}

impl Page {
    pub(super) fn new(pipe: Arc<Pipe>, session: String, look: Look) -> Self {
        let page = Self { pipe, session };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.ask(&format!("{domain}.enable"), &json!({}));
        }
        page.look_with(look);
        // A page in a window that nobody sees has no focus, and may not use the clipboard.
        page.ask(
            "Emulation.setFocusEmulationEnabled",
            &json!({"enabled": true}),
        );
        page
    }

    /// Looks at it differently from now on.
    pub fn look_with(&self, look: Look) {
        let Look {
            width,
            height,
            dark,
            script,
        } = look;
        let mobile = width < 500;
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}),
        );
        let scheme = if dark { "dark" } else { "light" };
        let features = [
            json!({"name": "prefers-color-scheme", "value": scheme}),
            json!({"name": "prefers-reduced-motion", "value": "reduce"}),
        ];
        self.ask("Emulation.setEmulatedMedia", &json!({"features": features}));
        self.ask(
            "Emulation.setScriptExecutionDisabled",
            &json!({"value": !script}),
        );
    }

    /// Goes to an address, and waits until all of it is there.
    ///
    /// # Panics
    /// When it cannot be had.
    pub fn go(&self, url: &str) {
        let before = self.pipe.count();
        let answer = self.ask("Page.navigate", &json!({"url": url}));
        assert_eq!(answer["errorText"], Value::Null, "{url}");
        // Another part of the same document loads nothing.
        if answer["loaderId"].is_string() {
            let loaded = self
                .pipe
                .event(&self.session, "Page.loadEventFired", before);
            assert!(
                loaded.is_some(),
                "{url} does not end to load: {:?}",
                self.complaints()
            );
        }
    }

    /// Has every page from now on run a script of ours before its own.
    pub fn before_scripts(&self, source: &str) {
        let params = json!({"source": source});
        self.ask("Page.addScriptToEvaluateOnNewDocument", &params);
    }

    /// What an expression says; a promise is waited for.
    ///
    /// # Panics
    /// When it fails.
    pub fn eval(&self, expression: &str) -> Value {
        let value = self.try_eval(expression);
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let params = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true,
        });
        let mut answer = self.pipe.ask(&self.session, "Runtime.evaluate", &params)?;
        match answer["exceptionDetails"].take() {
            Value::Null => Ok(answer["result"]["value"].take()),
            failed => Err(failed.to_string()),
        }
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it is not for more than a minute.
    pub fn wait(&self, expression: &str) {
        let begun = Instant::now();
        loop {
            // While a page makes way for another one, nothing can be asked.
            let last = self.try_eval(expression);
            if last.as_ref().is_ok_and(|value| *value == true) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not become true: {expression} ({last:?}); the page says: {}",
                self.text("body")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text of the first element that a selector finds, as it is shown.
    ///
    /// # Panics
    /// When there is none.
    pub fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?}).innerText"));
        text.as_str().expect("a text").to_owned()
    }

    /// The text of all elements that a selector finds.
    ///
    /// # Panics
    /// When the selector is wrong.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let texts = self.eval(&format!(
            "Array.from(document.querySelectorAll({selector:?}), (e) => e.innerText)"
        ));
        serde_json::from_value(texts).expect("texts")
    }

    /// Clicks in the middle of the first element that a selector finds, as soon as it is shown.
    ///
    /// # Panics
    /// When it is not for more than a minute.
    pub fn click(&self, selector: &str) {
        self.wait(&format!(
            "document.querySelector({selector:?})?.getClientRects().length > 0"
        ));
        let at = self.eval(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getClientRects()[0]; return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let params =
                json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.ask("Input.dispatchMouseEvent", &params);
        }
    }

    /// Presses a key: one that writes a character, or `Tab`, `Shift+Tab`, `Enter`, `Escape`,
    /// `ArrowDown`, `ArrowUp`, `Backspace`.
    ///
    /// # Panics
    /// When the key is none of these.
    pub fn press(&self, key: &str) {
        let (shift, name) = match key.strip_prefix("Shift+") {
            Some(name) => (8, name),
            None => (0, key),
        };
        let (code, text) = match name {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            "Backspace" => (8, ""),
            "/" => (191, "/"),
            "[" => (219, "["),
            "]" => (221, "]"),
            "-" => (189, "-"),
            "_" => (189, "_"),
            " " => (32, " "),
            letter => {
                let byte = letter.bytes().next().filter(u8::is_ascii_alphanumeric);
                let byte = byte.unwrap_or_else(|| panic!("no key {key}"));
                (i32::from(byte.to_ascii_uppercase()), letter)
            }
        };
        let params = |kind: &str| {
            json!({
                "type": kind, "key": name, "windowsVirtualKeyCode": code, "modifiers": shift, "text": text,
            })
        };
        let down = if text.is_empty() {
            "rawKeyDown"
        } else {
            "keyDown"
        };
        self.ask("Input.dispatchKeyEvent", &params(down));
        let mut up = params("keyUp");
        up["text"] = "".into();
        self.ask("Input.dispatchKeyEvent", &up);
    }

    /// Writes on the keyboard, key by key.
    pub fn write(&self, text: &str) {
        for letter in text.chars() {
            self.press(&letter.to_string());
        }
    }

    /// Keeps a picture of the page in a file: of what the window shows, or of all of it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn picture(&self, file: &Path, whole: bool) {
        let mut params = json!({"format": "png", "captureBeyondViewport": whole});
        if whole {
            let size = self.ask("Page.getLayoutMetrics", &json!({}));
            let (width, height) = (
                &size["cssContentSize"]["width"],
                &size["cssContentSize"]["height"],
            );
            params["clip"] = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        }
        let picture = self.ask("Page.captureScreenshot", &params);
        let data = picture["data"].as_str().expect("a picture");
        fs_err::write(file, STANDARD.decode(data).expect("base64")).expect("a writable directory");
    }

    /// What the browser has to complain of: errors and warnings of its console, violations of the
    /// policy, exceptions, and requests that came to nothing.
    pub fn complaints(&self) -> Vec<String> {
        let events = self.pipe.events(&self.session).into_iter();
        let complaints = events.filter(|event| match event.method.as_str() {
            "Runtime.exceptionThrown" | "Page.javascriptDialogOpening" => true,
            // What a page gave up because it made way for another one came to no harm.
            "Network.loadingFailed" => event.params["canceled"] != true,
            "Runtime.consoleAPICalled" => event.params["type"] != "log",
            "Log.entryAdded" => event.params["entry"]["level"] != "verbose",
            _ => false,
        });
        complaints
            .map(|event| format!("{}: {}", event.method, event.params))
            .collect()
    }

    /// Waits until there is something to complain of.
    ///
    /// # Panics
    /// When there is nothing for more than a minute.
    pub fn wait_for_complaints(&self) {
        let begun = Instant::now();
        while self.complaints().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "nothing to complain of");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the thread of the page has used of a processor so far, in milliseconds: the same however busy
    /// the machine is with other things.
    ///
    /// # Panics
    /// When the browser does not say.
    pub fn cpu_ms(&self) -> f64 {
        self.ask("Performance.enable", &json!({"timeDomain": "threadTicks"}));
        let metrics = self.ask("Performance.getMetrics", &json!({}));
        let metrics = metrics["metrics"].as_array().expect("metrics").iter();
        let mut of = metrics.filter(|m| m["name"] == "TaskDuration");
        let seconds = of.next().and_then(|m| m["value"].as_f64());
        1000.0 * seconds.expect("the duration of all tasks")
    }

    /// The addresses of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        let events = self.pipe.events(&self.session).into_iter();
        let requests = events.filter(|event| event.method == "Network.requestWillBeSent");
        let url = |params: &Value| params["request"]["url"].as_str().map(str::to_owned);
        requests.filter_map(|event| url(&event.params)).collect()
    }

    fn ask(&self, method: &str, params: &Value) -> Value {
        let answer = self.pipe.ask(&self.session, method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}
