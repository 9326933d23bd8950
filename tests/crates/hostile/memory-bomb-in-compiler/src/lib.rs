//! A macro that fills a gigabyte of the compiler's memory.

use proc_macro::TokenStream;

#[proc_macro]
pub fn fill(_: TokenStream) -> TokenStream {
    let held: Vec<Vec<u8>> = (0..1024).map(|_| vec![1; 1 << 20]).collect();
    format!("fn main() {{ assert_eq!({}, 1024); }}", held.len()).parse().unwrap()
}
