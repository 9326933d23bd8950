//! Makes the compiler compute for ever.

const fn spin() -> u64 {
    let mut n: u64 = 0;
    while n < u64::MAX {
        n += 1;
    }
    n
}

pub const N: u64 = spin();
