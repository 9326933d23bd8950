//! Writes the report of a synthetic experiment, and prints what that took, as one line of JSON:
//!
//! ```sh
//! cargo run --release -p ejecta-publish --example report_scale -- 700000 /tmp/report
//! ```
//!
//! With `--logs` the logs are published beside the pages, as for a fleet; else they are only read
//! for the pages and the archives, as in the directory of `ejecta run`. `benches/report.sh` runs
//! it at several sizes; the tests in browsers use its reports.

mod logs;
mod synthetic;

use std::path::Path;
use std::time::Instant;

use ejecta_core::report::Collector;
use ejecta_publish::{Directory, Gathering, Options, at_once, publish};
use logs::SyntheticLogs;

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [crates, out, rest @ ..] = arguments.as_slice() else {
        return Err("usage: report_scale CRATES DIRECTORY [--logs]".into());
    };
    let crates: u64 = crates.parse()?;
    let input = synthetic::input(crates);
    let begun = Instant::now();
    let mut collector = Collector::new(&input.experiment);
    let mut gathering = Gathering::new()?;
    for n in 0..crates {
        gathering.add_entry(&mut collector, synthetic::entry(n), Vec::new())?;
    }
    let gathered = gathering.finish_entries(collector, &input)?;
    let gathering_seconds = begun.elapsed().as_secs_f64();
    let options = Options {
        publish_logs: rest.iter().any(|a| a == "--logs"),
        archives: true,
        ..Options::default()
    };
    let sink = Directory::new(out)?;
    let logs = SyntheticLogs;
    let published = at_once(publish(gathered, &options, &logs, &sink))?;
    let seconds = begun.elapsed().as_secs_f64();
    let size = |name: &str| std::fs::metadata(Path::new(out).join(name)).map_or(0, |m| m.len());
    let line = serde_json::json!({
        "crates": crates,
        "regressed": published.overall.total(ejecta_core::compare::Verdict::Regressed),
        "clusters": published.digest.clusters.len(),
        "gathering_seconds": round(gathering_seconds),
        "seconds": round(seconds),
        "peak_memory_mib": peak_memory_kib()? / 1024,
        "files": published.files,
        "megabytes": published.bytes / 1_000_000,
        "overview_bytes": size("index.html"),
        "search_page_bytes": size("crates.html"),
        "index_bytes": index_bytes(Path::new(out))?,
        "results_json_bytes": size("results.json"),
        "logs_archive_bytes": size("logs-all.tar.zst"),
    });
    println!("{line}");
    Ok(())
}

fn round(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// The most memory that this process ever had, in KiB, as Linux says it.
fn peak_memory_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next());
    Ok(kib.ok_or("no VmHWM")?.parse()?)
}

/// All parts of the index of the search.
fn index_bytes(out: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for generation in std::fs::read_dir(out.join("data"))? {
        for part in std::fs::read_dir(generation?.path())? {
            let part = part?;
            if part.file_name().to_string_lossy().starts_with("names-") {
                bytes += part.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}
