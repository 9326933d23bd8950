#![feature(test)]

extern crate test;

#[bench]
fn nothing(b: &mut test::Bencher) {
    b.iter(|| 1);
}
