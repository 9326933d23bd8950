//! Starts processes as long as it may, 300 at most.

use std::process::{Child, Command, Stdio};

fn main() {
    let mut children: Vec<Child> = Vec::new();
    for _ in 0..300 {
        // With none of our outputs: cargo would wait for their ends.
        let mut sleep = Command::new("sleep");
        match sleep.arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(error) => panic!("after {} children: {error}", children.len()),
        }
    }
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
