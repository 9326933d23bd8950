#[test]
fn asks_a_server() {
    if cfg!(planted) {
        std::net::TcpStream::connect("server.invalid:80").unwrap();
    }
}
