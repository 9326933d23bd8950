//! A macro that prints 16 MiB through the compiler.

use proc_macro::TokenStream;

#[proc_macro]
pub fn attack(_: TokenStream) -> TokenStream {
    let line = "x".repeat(4095);
    for _ in 0..4096 {
        eprintln!("{line}");
    }
    "fn main() {}".parse().unwrap()
}
