//! A macro that prints 200,000 empty lines.

use proc_macro::TokenStream;

#[proc_macro]
pub fn attack(_: TokenStream) -> TokenStream {
    for _ in 0..200_000 {
        eprintln!();
    }
    "fn main() {}".parse().unwrap()
}
