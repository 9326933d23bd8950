//! The helper processes of the native sandbox as a program of their own, for tests of this
//! package; `ejecta` is its own helper.

fn main() {
    let arguments = std::env::args().skip(1);
    std::process::exit(ejecta_agent::sandbox::native::init_main(arguments));
}
