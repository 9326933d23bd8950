//! A macro that closes every output of the compiler and hangs.

use proc_macro::TokenStream;

#[proc_macro]
pub fn attack(_: TokenStream) -> TokenStream {
    extern "C" {
        fn close(fd: i32) -> i32;
    }
    for fd in 0..64 {
        unsafe { close(fd) };
    }
    std::thread::sleep(std::time::Duration::from_secs(10));
    "fn main() {}".parse().unwrap()
}
