fn main() {
    eprintln!("the library that this crate binds is not installed");
    std::process::exit(1);
}
