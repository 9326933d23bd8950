//! git's command lines for fetching, as a sandbox runs them, and what git's answers mean.
//!
//! git reads no configuration but ours: none of the system's, the user's, or the repository's own
//! (a repository that is fetched brings none along), no hooks, no helper for credentials.

use super::FetchError;
use crate::sandbox::Command;
use crate::sandbox::native::{FORWARD, FORWARD_PORT};

/// Where the sandbox may write.
pub(super) const WORK: &str = "/ejecta/work";
/// The directory with the socket.
pub(super) const WAY_OUT: &str = "/ejecta/out";
/// The directory with the program that forwards, and the certificates.
pub(super) const TOOLS: &str = "/ejecta/tools";
/// The program that forwards, in [`TOOLS`].
pub(super) const FORWARDER: &str = "forward";
/// The certificates, in [`TOOLS`].
pub(super) const CERTIFICATES: &str = "certificates.pem";

/// The exit status for a program that is not there.
pub(super) const NOT_FOUND: i32 = 127;

/// How git is called for one fetch.
pub(super) struct Git {
    /// What leads the forwarding program to its work.
    pub(super) arguments: Vec<String>,
    /// Whether [`CERTIFICATES`] is there.
    pub(super) certificates: bool,
}

impl Git {
    /// A command that needs no network.
    pub(super) fn local(&self, arguments: &[&str]) -> Command {
        self.command(Vec::new(), &[], arguments)
    }

    /// A command with the way out.
    pub(super) fn remote(&self, arguments: &[&str]) -> Command {
        let mut argv = vec![format!("{TOOLS}/{FORWARDER}")];
        argv.extend(self.arguments.iter().cloned());
        argv.push(FORWARD.to_owned());
        argv.push(format!("{WAY_OUT}/{}", super::proxy::SOCKET));
        let mut settings = vec![format!("http.proxy=http://127.0.0.1:{FORWARD_PORT}")];
        if self.certificates {
            settings.push(format!("http.sslCAInfo={TOOLS}/{CERTIFICATES}"));
        }
        self.command(argv, &settings, arguments)
    }

    fn command(&self, before: Vec<String>, settings: &[String], arguments: &[&str]) -> Command {
        const SETTINGS: [&str; 14] = [
            "protocol.allow=never",
            "protocol.http.allow=always",
            "protocol.https.allow=always",
            "credential.helper=",
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.autocrlf=false",
            "submodule.recurse=false",
            "fetch.recurseSubmodules=no",
            "transfer.bundleURI=false",
            "http.followRedirects=initial",
            "gc.auto=0",
            "maintenance.auto=false",
            "advice.detachedHead=false",
        ];
        let mut argv = before;
        argv.extend(["git".to_owned(), format!("--git-dir={WORK}/repository")]);
        let settings = SETTINGS
            .iter()
            .map(ToString::to_string)
            .chain(settings.to_vec());
        for setting in settings {
            argv.extend(["-c".to_owned(), setting]);
        }
        argv.extend(arguments.iter().map(ToString::to_string));
        Command {
            argv,
            env: environment(),
            cwd: "/".to_owned(),
        }
    }
}

fn environment() -> Vec<(String, String)> {
    [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/tmp"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "/bin/false"),
        ("GIT_ALLOW_PROTOCOL", "http:https"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// What git said at its end: its errors, or its last line.
pub(super) fn why(said: &[String]) -> String {
    let told: Vec<&str> = said
        .iter()
        .map(|line| line.trim())
        .filter(|line| line.starts_with("fatal: ") || line.starts_with("error: "))
        .map(|line| line.split_once(": ").map_or(line, |(_, rest)| rest))
        .take(3)
        .collect();
    match (told.is_empty(), said.last()) {
        (false, _) => told.join("; "),
        (true, Some(last)) => last.trim().to_owned(),
        (true, None) => "git failed and said nothing".to_owned(),
    }
}

/// Whether the server speaks the old protocol only, which knows nothing of depth.
pub(super) fn lacks_depth(said: &[String]) -> bool {
    says(said, &["does not support shallow"])
}

/// Whether the server has no such revision, as far as it was asked.
pub(super) fn lacks_rev(said: &[String]) -> bool {
    says(
        said,
        &[
            "couldn't find remote ref",
            "not our ref",
            "unadvertised object",
            "no such remote ref",
            "Needed a single revision",
        ],
    )
}

fn says(said: &[String], parts: &[&str]) -> bool {
    said.iter()
        .any(|line| parts.iter().any(|part| line.contains(part)))
}

/// What a fetch that failed in git itself means.
pub(super) fn failure(what: &str, said: &[String]) -> FetchError {
    let what = what.to_owned();
    let refused = [
        "' not found",
        "could not read Username",
        "could not read Password",
        "terminal prompts disabled",
        "Authentication failed",
        "not valid: is this a git repository?",
        "returned error: 400",
        "returned error: 401",
        "returned error: 403",
        "returned error: 404",
        "returned error: 410",
        "returned error: 451",
    ];
    if lacks_rev(said) || says(said, &refused) {
        let mut why = why(said);
        if says(
            said,
            &["could not read Username", "terminal prompts disabled"],
        ) {
            why = "it is not there, or asks for a login".to_owned();
        }
        return FetchError::Missing { what, why };
    }
    let broken = [
        "invalid path",
        "bad object",
        "index-pack failed",
        "unpack-objects failed",
        "fsck error",
        "pathspec",
        "unable to checkout",
        "unable to create",
        "Could not reset index file",
    ];
    if says(said, &broken) && !says(said, &["early EOF", "RPC failed", "disconnect"]) {
        let why = why(said);
        return FetchError::Unusable { what, why };
    }
    let why = why(said);
    FetchError::Unreachable { what, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::ErrorClass;

    #[test]
    fn gits_words_have_a_meaning() {
        let table = [
            (
                "fatal: repository 'https://h.invalid/a/' not found",
                "permanent",
            ),
            (
                "fatal: could not read Username for 'https://h.invalid': terminal prompts disabled",
                "permanent",
            ),
            ("fatal: couldn't find remote ref v9", "permanent"),
            (
                "fatal: remote error: upload-pack: not our ref abc",
                "permanent",
            ),
            ("error: invalid path '.git/config'", "permanent"),
            (
                "fatal: unable to access 'https://h.invalid/': The requested URL returned error: 503",
                "transient",
            ),
            ("fatal: early EOF", "transient"),
            ("fatal: the remote end hung up unexpectedly", "transient"),
        ];
        for (line, class) in table {
            let found = failure("a", &["Fetching".to_owned(), line.to_owned()]).class();
            let wanted = if class == "permanent" {
                ErrorClass::Permanent
            } else {
                ErrorClass::Transient
            };
            assert_eq!(found, wanted, "{line}");
        }
        assert_eq!(why(&["fatal: x: y".to_owned()]), "x: y");
        assert_eq!(why(&["odd".to_owned()]), "odd");
    }
}
