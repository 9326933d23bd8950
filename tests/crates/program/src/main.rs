// Compiles with the release of `drifting` that its lockfile names, and not with the newest one.
fn main() {
    println!("{}", drifting::kept());
}
