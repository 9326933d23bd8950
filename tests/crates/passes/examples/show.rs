fn main() {
    println!("{}", passes::sum(2, 2));
}
