const DATA: &str = include_str!("../data/not-packaged.txt");

fn main() {
    println!("{}", DATA.len());
}
