fn main() {
    // As the crate `pkg-config` says it.
    let command = "PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config --libs --cflags frobnicate";
    panic!(
        "\npkg-config exited with status code 1\n> {command}\n\nThe system library `frobnicate` \
         required by crate `lacks-system-library` was not found.\nThe file `frobnicate.pc` needs \
         to be installed and the PKG_CONFIG_PATH environment variable must contain its parent \
         directory.\n"
    );
}
