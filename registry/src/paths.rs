//! Where a registry keeps a crate: paths of the index, addresses of downloads, spellings of names.
//!
//! The rules are those of the cargo book's chapter on registries. No requests here.

use ejecta_core::krate::{CrateName, Release};

/// Separators whose every combination is tried; beyond, only the uniform spellings are.
const MAX_VARIED_SEPARATORS: usize = 4;

/// Where the index keeps `name`, relative to its root, in lower case.
pub(crate) fn index_path(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    format!("{}/{name}", prefix(&name))
}

fn prefix(name: &str) -> String {
    match name.len() {
        0..=2 => name.len().to_string(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// The address of the `.crate` file, from the `dl` of the index's `config.json`.
pub(crate) fn download_url(template: &str, release: &Release) -> String {
    let name = release.name.as_str();
    let version = encoded(&release.version.to_string());
    let markers = [
        ("{crate}", name.to_owned()),
        ("{version}", version.clone()),
        ("{prefix}", prefix(name)),
        ("{lowerprefix}", prefix(&name.to_ascii_lowercase())),
        ("{sha256-checksum}", release.checksum.as_str().to_owned()),
    ];
    if !markers.iter().any(|(marker, _)| template.contains(marker)) {
        return format!(
            "{}/{name}/{version}/download",
            template.trim_end_matches('/')
        );
    }
    let mut url = template.to_owned();
    for (marker, value) in markers {
        url = url.replace(marker, &value);
    }
    url
}

/// Percent-encodes what is not unreserved: a bare `+` means a space to some file hosts.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The spellings under which a registry may keep `name`: as given first, then with `-` and `_`
/// swapped. Index paths have no case, so neither has this.
pub(crate) fn spellings(name: &CrateName) -> Vec<String> {
    let given = name.as_str().to_ascii_lowercase();
    let separators: Vec<usize> = given
        .bytes()
        .enumerate()
        .filter_map(|(at, byte)| matches!(byte, b'-' | b'_').then_some(at))
        .collect();
    let mut all = vec![
        given.clone(),
        given.replace('_', "-"),
        given.replace('-', "_"),
    ];
    if separators.len() <= MAX_VARIED_SEPARATORS {
        for mask in 0..1_u32 << separators.len() {
            let mut bytes = given.clone().into_bytes();
            for (bit, at) in separators.iter().enumerate() {
                bytes[*at] = if mask >> bit & 1 == 0 { b'-' } else { b'_' };
            }
            all.push(String::from_utf8(bytes).expect("ASCII stays ASCII"));
        }
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|spelling| seen.insert(spelling.clone()));
    all
}

#[cfg(test)]
mod tests {
    use ejecta_core::krate::Checksum;

    use super::*;

    #[test]
    fn the_index_path_follows_the_length_of_the_name() {
        for (name, path) in [
            ("a", "1/a"),
            ("io", "2/io"),
            ("Syn", "3/s/syn"),
            ("serde", "se/rd/serde"),
            ("Rustc-Hash", "ru/st/rustc-hash"),
            ("ab_c", "ab/_c/ab_c"),
        ] {
            assert_eq!(index_path(name), path, "{name}");
        }
    }

    #[test]
    fn download_addresses_fill_in_the_markers() {
        let release = Release {
            name: CrateName::new("Zstd-sys").expect("a name"),
            version: "2.0.9+zstd.1.5.5".parse().expect("a version"),
            checksum: Checksum::new("ab".repeat(32)).expect("a checksum"),
        };
        let sum = "ab".repeat(32);
        for (template, url) in [
            (
                "http://h/api/",
                "http://h/api/Zstd-sys/2.0.9%2Bzstd.1.5.5/download",
            ),
            (
                "http://h/{lowerprefix}/{prefix}/{crate}-{version}.crate",
                "http://h/zs/td/Zs/td/Zstd-sys-2.0.9%2Bzstd.1.5.5.crate",
            ),
            ("http://h/{sha256-checksum}", &format!("http://h/{sum}")),
        ] {
            assert_eq!(download_url(template, &release), url);
        }
    }

    #[test]
    fn spellings_begin_as_given_and_are_bounded() {
        let of = |name: &str| spellings(&CrateName::new(name).expect("a name"));
        assert_eq!(of("Serde"), ["serde"]);
        assert_eq!(of("a_b"), ["a_b", "a-b"]);
        assert_eq!(of("a_b-c"), ["a_b-c", "a-b-c", "a_b_c", "a-b_c"]);
        assert_eq!(of("a-b-c-d-e").len(), 16);
        assert_eq!(of("a-b-c-d-e-f_g").len(), 3);
    }
}
