//! Where the pages come from: reports in `target/tmp`, made once, and a server that shows them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ejecta_core::report::Collector;
use ejecta_publish::{Directory, Gathering, Options, at_once, publish};
use ejecta_test_support::{Browser, Fleet, Lab, Look, Page, Process, crates_dir};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::synthetic;

/// With this both sides differ in the crates of the report that ran.
const PLANTED: &str = "stable+rustflags=--cfg planted";
/// How many crates the report has that never ran.
const CRATES: u64 = 7_000;

/// All of a path that an address would take for something else.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// The address of a file on this disk.
pub fn file_url(path: &Path) -> String {
    let path = path.to_str().expect("UTF-8");
    format!("file://{}", utf8_percent_encode(path, PATH))
}

fn own_directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("browser")
        .join(name);
    if dir.exists() {
        fs_err::remove_dir_all(&dir).expect("an older report can be removed");
    }
    fs_err::create_dir_all(&dir).expect("a writable directory");
    dir
}

/// The report of an experiment that never ran, of thousands of crates.
pub fn synthetic() -> &'static Path {
    static MADE: LazyLock<PathBuf> = LazyLock::new(|| {
        let large = std::env::var_os("EJECTA_TEST_LARGE_REPORT").map(PathBuf::from);
        match large {
            Some(large) => fs_err::canonicalize(large).expect("the large report"),
            None => generate("synthetic", CRATES),
        }
    });
    &MADE
}

/// The same of a few hundred, in which each crate has a page.
pub fn small() -> &'static Path {
    static MADE: LazyLock<PathBuf> = LazyLock::new(|| generate("small", 300));
    &MADE
}

fn generate(name: &str, crates: u64) -> PathBuf {
    let dir = own_directory(name);
    let input = synthetic::input(crates);
    let mut collector = Collector::new(&input.experiment);
    let mut gathering = Gathering::new().expect("a spool");
    for n in 0..crates {
        let entry = synthetic::entry(n);
        let added = gathering.add_entry(&mut collector, entry, Vec::new());
        added.expect("room in the spool");
    }
    let gathered = gathering
        .finish_entries(collector, &input)
        .expect("results");
    let sink = Directory::new(&dir).expect("a directory");
    let options = Options {
        publish_logs: true,
        ..Options::default()
    };
    let logs = crate::logs::SyntheticLogs;
    at_once(publish(gathered, &options, &logs, &sink)).expect("a report");
    dir
}

/// Text that ends attributes, tags and scripts.
pub const EVIL: &str =
    "</pre></script><script>document.title='owned'</script><img src=x onerror=\"alert(1)\"> '\"&";

/// The report of `ejecta run` over crates on a disk, one of them hostile; `None` where nothing can
/// be run.
pub fn real() -> Option<&'static Path> {
    static MADE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
        // A directory whose name is markup, too.
        let folder = lab.path("crates of \"><img src=x onerror=\"alert(1)\">");
        for name in ["passes", "fails-on-both", "planted-lib", "broken-bench"] {
            copy(&crates_dir().join(name), &folder.join(name));
        }
        plant_evil(&folder.join("evil"));
        let selection = format!("local:{}", folder.display());
        let args = [
            "--crates",
            &selection,
            "--candidate",
            PLANTED,
            "--sandbox",
            "native",
        ];
        let ended = lab.run("out", &args);
        let lacks = ended.stderr.contains("isolate steps with namespaces");
        if lacks && std::env::var_os("EJECTA_REQUIRE_NATIVE").is_none() {
            say_skipped("namespaces");
            return None;
        }
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(lab.results("out")["totals"]["regressed"], 2, "{ended:?}");
        let dir = own_directory("real");
        copy(&lab.path("out"), &dir);
        Some(dir)
    });
    MADE.as_deref()
}

fn plant_evil(dir: &Path) {
    let literal = format!("{EVIL:?}");
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = \"evil\"\nversion = \"1.0.0+b.-1\"\nedition = \"2021\"\ndescription = \"<script>\"\n"
                .to_owned(),
        ),
        ("build.rs", format!("fn main() {{ println!(\"cargo:warning={{}}\", {literal}); }}\n")),
        ("src/lib.rs", format!("#[cfg(planted)]\ncompile_error!({literal});\n")),
    ];
    fs_err::create_dir_all(dir.join("src")).expect("a writable directory");
    for (name, text) in files {
        fs_err::write(dir.join(name), text).expect("a writable directory");
    }
}

fn say_skipped(what: &str) {
    use std::io::Write as _;
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let said = format!("\n**** SKIPPED: {test} needs {what}, and there are none ****\n\n");
    let _ = std::io::stderr().write_all(said.as_bytes());
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("a writable directory");
    for entry in fs_err::read_dir(from).expect("a readable directory") {
        let entry = entry.expect("a readable directory");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a kind of file");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs_err::copy(entry.path(), &target).expect("a writable directory");
        }
    }
}

/// The pages of a report of every kind, below its directory.
pub fn kinds(dir: &Path) -> Vec<String> {
    let one_of = |below: &str| {
        let entries = fs_err::read_dir(dir.join(below)).expect("a directory");
        let names = entries.map(|e| e.expect("a file").file_name().into_string().expect("UTF-8"));
        let name = names.min().expect("a page");
        format!("{below}/{name}")
    };
    let mut kinds: Vec<String> = [
        "index.html",
        "clusters.html",
        "crates.html",
        "downloads.html",
    ]
    .map(str::to_owned)
    .into();
    kinds.push(one_of("clusters"));
    kinds.push(one_of("list"));
    kinds.push(one_of("crates"));
    // A small report has all of it on one page, a large one a page for crates that have none.
    kinds.push(match dir.join("one-page.html").exists() {
        true => "one-page.html".to_owned(),
        false => "crate.html#n=3".to_owned(),
    });
    kinds
}

/// A server that shows the reports, and its pages to anybody.
#[derive(Debug)]
pub struct Shown {
    pub fleet: Fleet,
    _server: Process,
}

impl Shown {
    pub fn start() -> Self {
        let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
        let fleet = Fleet::new(lab, None, "[watching]\npublic = true\n");
        let server = fleet.server();
        Self {
            fleet,
            _server: server,
        }
    }

    /// The address of the report in `dir`, with a slash at the end.
    pub fn report(&self, dir: &Path) -> String {
        let name = dir.file_name().and_then(|n| n.to_str()).expect("a name");
        let link = self.fleet.lab.path("reports").join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(dir, link).expect("a link");
        }
        format!("{}/reports/{name}/", self.fleet.address())
    }
}

/// A server with an experiment that has ended, one that waits, one that cannot run, and an agent.
pub fn server() -> (Shown, Process) {
    let shown = Shown::start();
    let fleet = &shown.fleet;
    let create = |name: &str, more: &[&str]| {
        let crates = ["create", name, "--crates", "list:planted-lib,passes"];
        let made = fleet.experiment(&[&crates, more].concat());
        assert_eq!(made.code, Some(0), "{made:?}");
    };
    create("ended", &["--candidate", "stable+rustflags=--cfg planted"]);
    create("cannot", &["--candidate", "no-such-toolchain-1"]);
    let agent = fleet.agent("one", &["--jobs", "1"]);
    fleet.wait("ended", |e| e["report"].is_string());
    fleet.wait("cannot", |e| e["problem"].is_string());
    create("waits", &["--require", "gpu"]);
    (shown, agent)
}

/// Its pages.
pub fn of_server(fleet: &Fleet) -> Vec<String> {
    let paths = [
        "/",
        "/agents",
        "/experiments/ended",
        "/experiments/cannot",
        "/experiments/waits",
        "/experiments/none",
    ];
    paths.map(|path| fleet.address() + path).into()
}

/// Runs a test over the large report, opened from a disk and had from a server.
pub fn both_ways(test: impl Fn(&Browser, &str)) {
    let Some(browser) = Browser::start_or_skip() else {
        return;
    };
    let dir = synthetic();
    test(&browser, &format!("{}/", file_url(dir)));
    let shown = Shown::start();
    test(&browser, &shown.report(dir));
}

/// Opens the list of all crates, and waits until all of the index is there.
pub fn all_crates(browser: &Browser, base: &str, hash: &str) -> Page {
    let page = browser.page(Look::default());
    page.go(&format!("{base}crates.html{hash}"));
    index_is_there(&page);
    page
}

/// Waits until the search has all of its index.
pub fn index_is_there(page: &Page) {
    page.wait("/ of [0-9,]+$/.test(document.getElementById('count').textContent)");
}

/// That the browser found nothing wrong with a page, and that it asked for nothing beyond the
/// directory or the server of its own.
pub fn complains_of_nothing(page: &Page) {
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
