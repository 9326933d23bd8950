pub fn wrong() -> u32 {
    "text"
}
