//! Limits of a run and of single crates, on the real binary in both sandboxes: what is hit, what is
//! told of it, and that the next crate has its own.

use ejecta_test_support::{CrateFixture, Ended, Lab, docker_or_skip};
use serde_json::{Value, json};

const DENYLIST: &str = r#"
[crates.hungry]
reason = "is to have little"
limits = { memory-mib = 256 }

[crates.sated]
reason = "is to have more than the run gives"
limits = { memory-mib = 2048 }

[crates.slow]
reason = "is to be stopped"
limits = { wall-seconds = 3 }

[crates.silent]
reason = "is to be stopped before its time is up"
limits = { no-progress-seconds = 2, wall-seconds = 60 }

[crates.loud]
reason = "says too much"
limits = { output-mib = 1, output-lines = 2000 }

[crates.large]
reason = "writes too much"
limits = { disk-mib = 64 }

[crates.many]
reason = "writes too many"
limits = { disk-inodes = 1000 }

[crates.forking]
reason = "starts too many"
limits = { pids = 40 }
"#;

/// A build script that does `what`.
fn doing(name: &str, what: &str) -> CrateFixture {
    let script = format!(
        "#[allow(unused)] use std::{{fs, path::Path, thread, time::Duration}};\nfn main() {{ let out = std::env::var_os(\"OUT_DIR\").unwrap(); {what} }}"
    );
    CrateFixture::new(name, "1.0.0").file("build.rs", script)
}

fn crates() -> Vec<CrateFixture> {
    let eat = "let mut x = vec![]; for _ in 0..75 { x.push(vec![1_u8; 8 << 20]); }";
    vec![
        doing("hungry", eat),
        doing("sated", eat),
        doing("slow", "loop {}"),
        doing("silent", "thread::sleep(Duration::from_secs(600));"),
        doing(
            "loud",
            "for n in 0..9000 { eprintln!(\"{n} {n}\"); } panic!(\"and fails\");",
        ),
        doing(
            "large",
            "for n in 0.. { fs::write(Path::new(&out).join(n.to_string()), vec![1; 1 << 20]).unwrap(); thread::sleep(Duration::from_millis(5)); }",
        ),
        doing(
            "many",
            "for n in 0.. { fs::write(Path::new(&out).join(n.to_string()), \"\").unwrap(); thread::sleep(Duration::from_micros(300)); }",
        ),
        doing(
            "forking",
            "let all: Vec<_> = (0..400).map(|_| thread::Builder::new().spawn(|| thread::sleep(Duration::from_secs(2))).unwrap()).collect(); for t in all { t.join().unwrap(); }",
        ),
    ]
}

fn run(sandbox: &str) -> Option<(Lab, Ended)> {
    if sandbox == "docker" && !docker_or_skip() {
        return None;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    for krate in crates() {
        lab.registry.publish(&krate);
    }
    lab.write("denylist.toml", DENYLIST);
    let args = [
        "--crates",
        "list:hungry,sated,slow,silent,loud,large,many,forking,passes",
        "--candidate",
        "stable",
        "--memory",
        "512",
        "--denylist",
        "denylist.toml",
        "--sandbox",
        sandbox,
    ];
    let ended = lab.run("out", &args);
    Some((lab, ended))
}

fn krate<'a>(results: &'a Value, name: &str) -> &'a Value {
    let mut crates = results["crates"].as_array().expect("an array").iter();
    crates.find(|c| c["name"] == name).expect("the crate")
}

fn check(lab: &Lab, ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let results = lab.results("out");
    let mib = |n: u64| n << 20;
    // The crate, what it hits, the bound, its value, and the least peak that must be told.
    let table = [
        ("hungry", "oom", "memory_bytes", mib(256), Some(mib(200))),
        ("slow", "timeout", "wall_seconds", 3, Some(3)),
        ("silent", "no-progress", "no_progress_seconds", 2, Some(2)),
        ("loud", "too-much-output", "output_lines", 2000, Some(2000)),
        ("large", "no-space", "disk_bytes", mib(64), Some(mib(64))),
        ("many", "no-space", "disk_inodes", 1000, Some(1000)),
        ("forking", "pids", "pids", 40, Some(40)),
    ];
    for (name, limit, bound, value, least) in table {
        let krate = krate(&results, name);
        let stop = &krate["tiers"][0]["runs"][0]["limit"];
        assert_eq!(stop["limit"], limit, "{name}: {krate:#}");
        assert_eq!(stop["bound"], bound, "{name}");
        assert_eq!(stop["value"], value, "{name}");
        assert!(stop["peak"].as_u64() >= least, "{name}: {stop}");
        let reason = &krate["candidate"]["reason"];
        assert_eq!(*reason, json!({"kind": "limit", "limit": limit}), "{name}");
        let log = krate["candidate"]["log"].as_str().expect("a log");
        let log = lab.read("out", log);
        let last = log.lines().last().unwrap_or_default();
        let told = format!("[stopped by the sandbox: {limit} (limit ");
        assert!(last.starts_with(&told), "{name}: {last}");
        let told = format!("stopped at a limit: {limit} (limit ");
        assert!(lab.read("out", "one-page.html").contains(&told), "{name}");
    }
    assert_eq!(
        krate(&results, "hungry")["limits"],
        json!({"memory_bytes": mib(256)})
    );
    // More than the run gives, and the next crate has what the run gives.
    assert_eq!(krate(&results, "sated")["verdict"], "test-pass");
    assert_eq!(krate(&results, "passes")["verdict"], "test-pass");
    assert_eq!(krate(&results, "passes")["limits"], Value::Null);
    let cost = &krate(&results, "sated")["tiers"][0]["runs"][0]["cost"];
    for figure in [
        "duration_ms",
        "cpu_ms",
        "peak_memory_bytes",
        "disk_bytes",
        "disk_inodes",
    ] {
        assert!(cost[figure].as_u64() > Some(0), "{figure}: {cost}");
    }
    assert!(cost["output_bytes"].is_u64(), "{cost}");
}

#[test]
fn each_limit_is_told_with_its_value_and_the_peak_by_docker() {
    if let Some((lab, ended)) = run("docker") {
        check(&lab, &ended);
    }
}

#[test]
fn each_limit_is_told_with_its_value_and_the_peak_by_namespaces() {
    let Some((lab, ended)) = run("native") else {
        return;
    };
    let required = std::env::var_os("EJECTA_REQUIRE_NATIVE").is_some();
    if ended.stderr.contains("isolate steps with namespaces") && !required {
        eprintln!("\n**** SKIPPED: no namespaces: {} ****\n", ended.stderr);
        return;
    }
    check(&lab, &ended);
}
