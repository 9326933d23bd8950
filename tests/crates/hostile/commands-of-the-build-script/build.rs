//! Tells cargo to run, load and set what it should not.

fn main() {
    for line in [
        "cargo:rustc-env=RUSTC_WRAPPER=/ejecta/job/source/hostile.sh",
        "cargo:rustc-env=LD_PRELOAD=/ejecta/work/hostile.so",
        "cargo:rustc-link-arg=-fplugin=/ejecta/work/hostile.so",
        "cargo:rustc-link-search=native=@HOST@",
        "cargo:rustc-flags=-L @HOST@",
        "cargo:root=@HOST@",
        "cargo::metadata=include=@HOST@",
    ] {
        println!("{line}");
    }
}
