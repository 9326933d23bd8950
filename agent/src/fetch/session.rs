//! One fetch: a sandbox with a way out, and git's commands in it.

use std::path::PathBuf;

use ejecta_core::git::{Commit, GitUrl};
use ejecta_core::limits::{LimitHit, Limits};

use super::git::{self, Git};
use super::proxy::{Proxy, Stop};
use super::{FetchError, FetchLimits, Inner, MIB, Reach, Unfinished, lay_out_tools};
use crate::sandbox::{Command, Exit, Instance, LineSink, Mount, SandboxSpec, Stream};

/// Lines of git's that are kept.
const MAX_LINES: usize = 200;

/// A sandbox with a way out, for one repository.
pub(super) struct Session {
    what: String,
    url: GitUrl,
    git: Git,
    limits: FetchLimits,
    proxy: Proxy,
    instance: Box<dyn Instance>,
    unfinished: Unfinished,
}

/// What git said.
#[derive(Default)]
struct Said {
    stdout: Vec<String>,
    stderr: Vec<String>,
}

impl LineSink for Said {
    fn line(&mut self, stream: Stream, line: &[u8]) {
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if lines.len() < MAX_LINES {
            lines.push(ejecta_core::log::clean(&String::from_utf8_lossy(line)));
        }
    }
}

impl Session {
    pub(super) async fn start(
        inner: &Inner,
        what: &str,
        url: &GitUrl,
        reach: Reach,
    ) -> Result<Self, FetchError> {
        let tools = inner.tools.get_or_try_init(|| lay_out_tools(inner)).await?;
        let unfinished = Unfinished::new(&inner.dir, inner.sandbox.user())?;
        let out = unfinished.path("out");
        let proxy = Proxy::start(url, reach, &inner.limits, &out).await?;
        let mount = |host: PathBuf, guest: &str, writable| Mount {
            host,
            guest: guest.to_owned(),
            writable,
        };
        let spec = SandboxSpec {
            name: format!("fetch-{}", url.short().replace('/', "-")),
            mounts: vec![
                mount(tools.dir.path().to_owned(), git::TOOLS, false),
                mount(out, git::WAY_OUT, false),
                mount(unfinished.path("work"), git::WORK, true),
            ],
            limits: step_limits(&inner.limits),
        };
        let instance = inner.sandbox.create(&spec).await?;
        let mut session = Self {
            what: what.to_owned(),
            url: url.clone(),
            git: Git {
                arguments: inner.helper.arguments.clone(),
                certificates: tools.certificates,
            },
            limits: inner.limits.clone(),
            proxy,
            instance,
            unfinished,
        };
        let init = session.git.local(&[
            "init",
            "--quiet",
            "--bare",
            "--template=",
            &format!("{}/repository", git::WORK),
        ]);
        let (ok, said) = session.run(&init).await?;
        if !ok {
            let why = git::why(&said.stderr);
            session.end().await?;
            let what = what.to_owned();
            return Err(FetchError::NoGit { what, why });
        }
        Ok(session)
    }

    /// Ends the sandbox: nothing changes any more what it wrote.
    pub(super) async fn end(self) -> Result<Unfinished, FetchError> {
        tracing::debug!(what = self.what, bytes = self.proxy.bytes(), "fetched");
        self.instance.destroy().await?;
        Ok(self.unfinished)
    }

    /// Runs one command; whether it succeeded. What stopped it from outside is an error.
    async fn run(&mut self, command: &Command) -> Result<(bool, Said), FetchError> {
        let mut said = Said::default();
        let ran = self.instance.run(command, &mut said).await?;
        let what = self.what.clone();
        match ran.exit {
            Exit::Code(0) => return Ok((true, said)),
            Exit::Limit(limit) => {
                let why = self.over(limit);
                return Err(FetchError::Limit { what, why });
            }
            Exit::Code(_) | Exit::Signal(_) => {}
        }
        let network_mib = self.limits.network_bytes / MIB;
        match self.proxy.stopped() {
            None => {}
            Some(Stop::OtherHost(other)) => return Err(FetchError::OtherHost { what, other }),
            Some(Stop::TooMuch) => {
                let why = format!("it sends more than {network_mib} MiB");
                return Err(FetchError::Limit { what, why });
            }
            Some(Stop::Silent) => {
                let seconds = self.limits.silence_seconds;
                let why = format!("no byte came for {seconds} s");
                return Err(FetchError::Unreachable { what, why });
            }
            Some(Stop::Unreachable(why)) => return Err(FetchError::Unreachable { what, why }),
        }
        if ran.exit == Exit::Code(git::NOT_FOUND) {
            let why = git::why(&said.stderr);
            return Err(FetchError::NoGit { what, why });
        }
        Ok((false, said))
    }

    fn over(&self, limit: LimitHit) -> String {
        match limit {
            LimitHit::Timeout => format!("it takes more than {} s", self.limits.wall_seconds),
            LimitHit::NoSpace => {
                format!("it needs more than {} MiB", self.limits.disk_bytes / MIB)
            }
            other @ (LimitHit::Oom
            | LimitHit::NoProgress
            | LimitHit::TooMuchOutput
            | LimitHit::Pids) => format!("git hit a limit: {}", other.name()),
        }
    }

    /// Fetches one revision, as little of its history as the server lets us.
    pub(super) async fn fetch_rev(&mut self, rev: Option<&str>) -> Result<Commit, FetchError> {
        let url = self.url.to_string();
        let wanted = rev.unwrap_or("HEAD");
        let own = ["fetch", "--quiet", "--no-tags", "--no-write-commit-graph"];
        let shallow = [&own[..], &["--depth=1", "--end-of-options", &url, wanted]].concat();
        let (ok, mut said) = self.run(&self.git.remote(&shallow)).await?;
        let mut found = "FETCH_HEAD";
        if !ok {
            let deep = [&own[..], &["--end-of-options", &url, wanted]].concat();
            let mut ok = false;
            if git::lacks_depth(&said.stderr) {
                (ok, said) = self.run(&self.git.remote(&deep)).await?;
            }
            let is_digits =
                (7..=40).contains(&wanted.len()) && wanted.bytes().all(|b| b.is_ascii_hexdigit());
            if !ok && is_digits && git::lacks_rev(&said.stderr) {
                let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
                let all = [&own[..], &["--end-of-options", &url], &all].concat();
                (ok, said) = self.run(&self.git.remote(&all)).await?;
                found = wanted;
            }
            if !ok {
                return Err(git::failure(&self.what, &said.stderr));
            }
        }
        self.commit_of(found).await
    }

    async fn commit_of(&mut self, name: &str) -> Result<Commit, FetchError> {
        let name = format!("{name}^{{commit}}");
        let command = self
            .git
            .local(&["rev-parse", "--verify", "--end-of-options", &name]);
        let (ok, said) = self.run(&command).await?;
        let commit = said.stdout.last().and_then(|line| Commit::new(line).ok());
        match commit {
            Some(commit) if ok => Ok(commit),
            _ => Err(git::failure(&self.what, &said.stderr)),
        }
    }

    pub(super) async fn check_out(&mut self, commit: &Commit) -> Result<(), FetchError> {
        let tree = format!("--work-tree={}/tree", git::WORK);
        let checkout = self.git.local(&[
            &tree,
            "checkout",
            "--quiet",
            "--force",
            "--detach",
            commit.as_str(),
        ]);
        match self.run(&checkout).await? {
            (true, _) => Ok(()),
            (false, said) => {
                let what = self.what.clone();
                let why = git::why(&said.stderr);
                Err(FetchError::Unusable { what, why })
            }
        }
    }

    /// Fetches everything that cargo may ask for; a text that is another where that is another.
    pub(super) async fn fetch_all(&mut self) -> Result<String, FetchError> {
        let url = self.url.to_string();
        let fetch = self.git.remote(&[
            "fetch",
            "--quiet",
            "--no-write-commit-graph",
            "--end-of-options",
            &url,
            "+HEAD:refs/ejecta/head",
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ]);
        let (ok, said) = self.run(&fetch).await?;
        if !ok {
            return Err(git::failure(&self.what, &said.stderr));
        }
        let head = self.commit_of("refs/ejecta/head").await?;
        for command in [
            ["update-ref", "--no-deref", "HEAD", head.as_str()],
            ["update-ref", "--no-deref", "-d", "refs/ejecta/head"],
        ] {
            let (ok, said) = self.run(&self.git.local(&command)).await?;
            if !ok {
                return Err(git::failure(&self.what, &said.stderr));
            }
        }
        let (_, said) = self.run(&self.git.local(&["show-ref", "--head"])).await?;
        Ok(said.stdout.join("\n"))
    }
}

fn step_limits(limits: &FetchLimits) -> Limits {
    Limits {
        memory_bytes: limits.memory_bytes,
        wall_seconds: limits.wall_seconds,
        // A server that is silent is seen by the proxy.
        no_progress_seconds: None,
        disk_bytes: limits.disk_bytes,
        disk_inodes: 2 * limits.tree_entries,
        ..Limits::default()
    }
}
