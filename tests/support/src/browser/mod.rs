//! A real browser for tests of pages: Debian's Chromium, headless, spoken to over pipes. It says
//! what a page asked for, what it complained of and what it looks like, and it presses keys as a
//! person does.

mod page;
mod pipe;

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::skip;
use pipe::Pipe;

pub use page::Page;

/// How long it may take to end.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a page is looked at with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Width of the window, in CSS pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Whether its user prefers dark colours.
    pub dark: bool,
    /// Whether it runs scripts.
    pub script: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 900,
            dark: false,
            script: true,
        }
    }
}

impl Look {
    /// As [`Look::default`], of somebody who prefers dark colours.
    pub fn dark() -> Self {
        Self {
            dark: true,
            ..Self::default()
        }
    }

    /// As [`Look::default`], of a browser that runs no script.
    pub fn without_script() -> Self {
        Self {
            script: false,
            ..Self::default()
        }
    }

    /// The narrowest phones that there are.
    pub fn phone() -> Self {
        Self {
            width: 360,
            height: 740,
            ..Self::default()
        }
    }
}

/// A running browser. It ends when it is dropped.
#[derive(Debug)]
pub struct Browser {
    pipe: Arc<Pipe>,
    child: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts one: the program that `EJECTA_CHROMIUM` names, or `chromium` of the search path.
    /// Without it a test is to return at once; it has been said, loudly, that it was skipped.
    ///
    /// # Panics
    /// When there is none and `EJECTA_REQUIRE_BROWSER` is set, or when it does not answer.
    pub fn start_or_skip() -> Option<Self> {
        let program = std::env::var_os("EJECTA_CHROMIUM").unwrap_or("chromium".into());
        let profile = tempfile::tempdir().expect("a temporary directory");
        let found = Command::new(&program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            skip("EJECTA_REQUIRE_BROWSER", "Chromium (Debian's `chromium`)");
            return None;
        }
        let said = File::create(profile.path().join("said")).expect("a log can be written");
        let mut child = Command::new("sh")
            // The browser listens on its third descriptor and speaks on its fourth.
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(program)
            .args([
                "--headless",
                // It shows our own pages alone, and often runs as root, as which it has no other way.
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--mute-audio",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .expect("a shell");
        let to = child.stdin.take().expect("a pipe");
        let from = child.stdout.take().expect("a pipe");
        let browser = Self {
            pipe: Arc::new(Pipe::new(to, from)),
            child,
            _profile: profile,
        };
        browser.ask("Browser.getVersion", &Value::Null);
        Some(browser)
    }

    /// An empty page, with nothing kept from others.
    ///
    /// # Panics
    /// When the browser does not make one.
    pub fn page(&self, look: Look) -> Page {
        let context = self.ask("Target.createBrowserContext", &json!({}));
        let context = &context["browserContextId"];
        let wanted = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        self.ask(
            "Browser.grantPermissions",
            &json!({"permissions": wanted, "browserContextId": context}),
        );
        let target = self.ask(
            "Target.createTarget",
            &json!({"url": "about:blank", "browserContextId": context}),
        );
        let session = self.ask(
            "Target.attachToTarget",
            &json!({"targetId": target["targetId"], "flatten": true}),
        );
        let session = session["sessionId"].as_str().expect("a session");
        Page::new(Arc::clone(&self.pipe), session.to_owned(), look)
    }

    fn ask(&self, method: &str, params: &Value) -> Value {
        let answer = self.pipe.ask("", method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its many processes itself; a kill would leave some of them.
        let _ = self.pipe.ask("", "Browser.close", &json!({}));
        let begun = Instant::now();
        while begun.elapsed() < GOODBYE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
