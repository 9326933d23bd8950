//! Includes a file of the host, and one of the machine, so that an error would quote them.

pub const SECRET: &str = include_str!("@SECRET@");
pub const SHADOW: &str = include_str!("/etc/shadow");
mod secret {
    include!("@SECRET@");
}
