fn main() {
    if std::env::var_os("CARGO_CFG_PLANTED").is_none() {
        return;
    }
    let mut eaten = Vec::new();
    loop {
        // Ones, so that every page is really there.
        eaten.push(vec![1_u8; 16 << 20]);
    }
}
