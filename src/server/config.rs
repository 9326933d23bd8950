//! The configuration of a server: one TOML file, of which every key is known.
//!
//! Relative paths are those of the file's directory. Secrets are in files of their own, or in the
//! environment, and never in this one: it can be shown to anybody.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ejecta_server::api::Limits;
use ejecta_server::bot::config::BotConfig;
use ejecta_server::serve::Connections;
use secrecy::SecretString;
use serde::Deserialize;

use crate::error::Failure;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where requests are taken.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// How the server is reached from outside, such as `https://ejecta.example.org`.
    pub public_address: Option<String>,
    /// Reviewed exclusions, in place of the list that comes with ejecta.
    pub denylist: Option<PathBuf>,
    /// Whether directories that experiments name are the same on all agents as here.
    #[serde(default)]
    pub local_directories: bool,
    /// Where experiments are kept.
    pub store: StoreConfig,
    /// Where logs are kept.
    pub blobs: BlobConfig,
    /// Where reports are written.
    pub reports: ReportConfig,
    /// How long agents have.
    #[serde(default)]
    pub leases: LeaseConfig,
    /// Where crates come from.
    #[serde(default)]
    pub registry: RegistryConfig,
    /// The certificate; without it the server speaks plain HTTP.
    pub tls: Option<TlsConfig>,
    /// How much is taken in.
    #[serde(default)]
    pub limits: LimitConfig,
    /// What is shown.
    #[serde(default)]
    pub watching: WatchConfig,
    /// The bot; without it nobody is listened to.
    pub bot: Option<BotConfig>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4040))
}

/// `[store]`: one of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// A file of this server alone.
    pub sqlite: Option<PathBuf>,
    /// A file with the address of a PostgreSQL database, password included.
    pub postgres_file: Option<PathBuf>,
    /// The environment variable with that address.
    pub postgres_env: Option<String>,
    /// Connections to PostgreSQL at once.
    #[serde(default = "default_connections")]
    pub connections: u32,
}

fn default_connections() -> u32 {
    16
}

/// `[blobs]`: one of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobConfig {
    /// A directory.
    pub directory: Option<PathBuf>,
    /// A bucket.
    pub s3: Option<S3Config>,
}

/// `[blobs.s3]`, `[reports.s3]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The address of the server; plain HTTP only where it says so.
    pub endpoint: String,
    /// The region, as the server wants it.
    pub region: String,
    /// The bucket, which must be there.
    pub bucket: String,
    /// The public part of the key.
    pub access_key: String,
    /// A file with the secret part of the key.
    pub secret_key_file: PathBuf,
}

/// `[reports]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportConfig {
    /// The directory that reports are written into, each into one of its name; those of experiments
    /// that run, where others go into a bucket.
    pub directory: PathBuf,
    /// Where that directory or that bucket is published, without the name of a report; without it
    /// the server shows reports itself, to anybody, below `/reports`.
    pub address: Option<String>,
    /// The bucket that reports go into instead.
    pub s3: Option<S3Config>,
}

/// `[leases]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseConfig {
    /// How long a lease holds without a heartbeat; agents send several in that time.
    pub seconds: u64,
    /// How long a job may stay where it is before it is taken away.
    pub stuck_seconds: u64,
    /// When an agent that found no job should ask again.
    pub retry_after_millis: u64,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self {
            seconds: 60,
            stuck_seconds: 3600,
            retry_after_millis: 5000,
        }
    }
}

/// `[registry]`: as the options of `ejecta run`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// The sparse index of another registry than the public one.
    pub index: Option<String>,
    /// A file with its token.
    pub token_file: Option<PathBuf>,
    /// The list of all crates: a dump on disk or a checkout of the index.
    pub database: Option<PathBuf>,
    /// Where index entries and repositories are kept; without it, the user's cache directory.
    pub store: Option<PathBuf>,
}

/// `[tls]`: both in PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate with its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// `[limits]`: see [`Limits`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Requests at once, all callers together.
    pub requests_at_once: usize,
    /// Requests a second of one token, on the long run.
    pub requests_per_second: f64,
    /// Requests of one token at one moment.
    pub burst: f64,
    /// How long a request may take.
    pub request_seconds: u64,
    /// Connections at once; more wait.
    pub connections_at_once: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub idle_seconds: u64,
}

impl Default for LimitConfig {
    fn default() -> Self {
        let limits = Limits::default();
        let connections = Connections::default();
        Self {
            requests_at_once: limits.at_once,
            requests_per_second: limits.per_second,
            burst: limits.burst,
            request_seconds: limits.seconds,
            connections_at_once: connections.at_once,
            idle_seconds: connections.idle.as_secs(),
        }
    }
}

/// `[watching]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Whether anybody may look at pages and follow experiments, without a token.
    pub public: bool,
}

/// Which database.
#[derive(Debug)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server, by its address.
    Postgres(SecretString),
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Failure`] that names the file, the key and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs_err::read_to_string(path)
            .map_err(|e| Failure::to(format!("read the configuration: {e}")))?;
        let shown = path.display();
        let mut config: Self = toml::from_str(&text)
            .map_err(|e| Failure::input(format!("the configuration `{shown}`: {e}")))?;
        let file = std::path::absolute(path)
            .map_err(|e| Failure::to(format!("use the configuration `{shown}`: {e}")))?;
        config.make_absolute(file.parent().unwrap_or(Path::new("/")));
        config
            .check()
            .map_err(|why| Failure::input(format!("the configuration `{shown}`: {why}")))?;
        Ok(config)
    }

    fn make_absolute(&mut self, dir: &Path) {
        let s3 = [self.blobs.s3.as_mut(), self.reports.s3.as_mut()].into_iter();
        let s3 = s3.flatten().map(|s3| &mut s3.secret_key_file);
        let tls = self.tls.as_mut();
        let (certificate, key) = match tls {
            Some(tls) => (Some(&mut tls.certificate), Some(&mut tls.key)),
            None => (None, None),
        };
        let all = [
            self.denylist.as_mut(),
            self.store.sqlite.as_mut(),
            self.store.postgres_file.as_mut(),
            self.blobs.directory.as_mut(),
            Some(&mut self.reports.directory),
            self.registry.token_file.as_mut(),
            self.registry.database.as_mut(),
            self.registry.store.as_mut(),
            certificate,
            key,
        ];
        let bot = self.bot.iter_mut().flat_map(|bot| bot.github.files_mut());
        for path in all.into_iter().flatten().chain(s3).chain(bot) {
            *path = dir.join(&*path);
        }
    }

    fn check(&self) -> Result<(), String> {
        let StoreConfig {
            sqlite,
            postgres_file,
            postgres_env,
            ..
        } = &self.store;
        let stores = [
            sqlite.is_some(),
            postgres_file.is_some(),
            postgres_env.is_some(),
        ];
        if stores.into_iter().filter(|there| *there).count() != 1 {
            return Err(
                "`[store]` has one of `sqlite`, `postgres_file` and `postgres_env`".to_owned(),
            );
        }
        if self.blobs.directory.is_some() == self.blobs.s3.is_some() {
            return Err("`[blobs]` has one of `directory` and `s3`".to_owned());
        }
        if self.reports.s3.is_some() && self.reports.address.is_none() {
            return Err(
                "`[reports.s3]` needs `address` in `[reports]`: where the bucket is published"
                    .to_owned(),
            );
        }
        for (key, address) in [
            ("public_address", &self.public_address),
            ("reports.address", &self.reports.address),
        ] {
            let of_web = |a: &str| a.starts_with("http://") || a.starts_with("https://");
            if let Some(address) = address.as_deref().filter(|a| !of_web(a)) {
                return Err(format!(
                    "`{key}` is an address of the web, and not `{address}`"
                ));
            }
        }
        let LeaseConfig {
            seconds,
            stuck_seconds,
            retry_after_millis,
        } = self.leases;
        for (key, value, least, most) in [
            ("leases.seconds", seconds, 2, 86_400),
            ("leases.stuck_seconds", stuck_seconds, 10, 30 * 86_400),
            ("leases.retry_after_millis", retry_after_millis, 10, 600_000),
            ("store.connections", self.store.connections.into(), 2, 1000),
            (
                "limits.requests_at_once",
                self.limits.requests_at_once as u64,
                1,
                1_000_000,
            ),
            (
                "limits.request_seconds",
                self.limits.request_seconds,
                1,
                86_400,
            ),
            (
                "limits.connections_at_once",
                self.limits.connections_at_once as u64,
                1,
                1_000_000,
            ),
            ("limits.idle_seconds", self.limits.idle_seconds, 1, 86_400),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!(
                    "`{key}` is between {least} and {most}, and not {value}"
                ));
            }
        }
        if let Some(bot) = &self.bot {
            bot.check().map_err(|error| error.to_string())?;
        }
        let LimitConfig {
            requests_per_second,
            burst,
            ..
        } = self.limits;
        if !(requests_per_second > 0.0 && burst >= 1.0) {
            return Err(
                "`limits.requests_per_second` is more than 0, and `limits.burst` at least 1"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The database, with its secret.
    ///
    /// # Errors
    /// [`Failure`] when the secret cannot be read.
    pub fn database(&self) -> Result<Database, Failure> {
        if let Some(path) = &self.store.sqlite {
            return Ok(Database::Sqlite(path.clone()));
        }
        if let Some(path) = &self.store.postgres_file {
            return Ok(Database::Postgres(secret(path)?));
        }
        let name = self.store.postgres_env.as_deref().unwrap_or_default();
        match std::env::var(name) {
            Ok(address) => Ok(Database::Postgres(SecretString::from(address))),
            Err(_) => Err(Failure::input(format!(
                "the environment variable `{name}` with the database's address is not set"
            ))),
        }
    }

    /// The limits of the API.
    pub fn limits(&self) -> Limits {
        Limits {
            at_once: self.limits.requests_at_once,
            per_second: self.limits.requests_per_second,
            burst: self.limits.burst,
            seconds: self.limits.request_seconds,
        }
    }

    /// The bounds of connections.
    pub fn connections(&self) -> Connections {
        Connections {
            at_once: self.limits.connections_at_once,
            idle: Duration::from_secs(self.limits.idle_seconds),
        }
    }
}

/// A secret in a file, without the white space around it.
///
/// # Errors
/// [`Failure`] that names the file, when it cannot be read or is empty.
pub fn secret(path: &Path) -> Result<SecretString, Failure> {
    let text =
        fs_err::read_to_string(path).map_err(|e| Failure::to(format!("read a secret: {e}")))?;
    match text.trim() {
        "" => {
            let shown = path.display();
            Err(Failure::input(format!("the file `{shown}` is empty")))
        }
        secret => Ok(SecretString::from(secret.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "[store]\nsqlite = \"ejecta.db\"\n[blobs]\ndirectory = \"blobs\"\n\
                            [reports]\ndirectory = \"/srv/reports\"\n";

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("server.toml");
        fs_err::write(&file, text).expect("writable");
        let read = Config::read(&file).map_err(|e| e.to_string());
        read.map(|mut config| {
            // The directory is another one each time.
            let store = config.store.sqlite.take().expect("sqlite");
            assert_eq!(store, dir.path().join("ejecta.db"));
            config
        })
    }

    #[test]
    fn a_small_file_is_enough() {
        let config = read(SMALLEST).expect("valid");
        assert_eq!(config.listen.to_string(), "127.0.0.1:4040");
        assert_eq!(config.reports.directory, Path::new("/srv/reports"));
        assert_eq!(config.limits(), Limits::default());
        assert!(!config.local_directories && !config.watching.public);
    }

    #[test]
    fn the_example_is_valid_and_says_what_holds_without_it() {
        let example = include_str!("../../deploy/server.toml");
        let config: Config = toml::from_str(example).expect("valid");
        config.check().expect("it makes sense");
        let smallest = read(SMALLEST).expect("valid");
        assert_eq!(config.listen, smallest.listen);
        assert_eq!(config.limits(), smallest.limits());
        let of = |config: &Config| format!("{:?} {:?}", config.leases, config.watching);
        assert_eq!(of(&config), of(&smallest));
        assert_eq!(config.store.connections, smallest.store.connections);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let table = [
            ("lissten = 1\n", "unknown field `lissten`"),
            ("listen = \"nowhere\"\n", "invalid socket address"),
            (
                "public_address = \"ftp://x\"\n",
                "`public_address` is an address of the web",
            ),
            (
                "[leases]\nseconds = 0\n",
                "`leases.seconds` is between 2 and 86400, and not 0",
            ),
            ("[leases]\nminutes = 1\n", "unknown field `minutes`"),
            ("[limits]\nburst = 0.0\n", "`limits.burst` at least 1"),
            ("[limits]\nrequests_per_second = nan\n", "is more than 0"),
            ("[tls]\nkey = \"x\"\n", "missing field `certificate`"),
            ("[bot]\nname = \"@x\"\n", "missing field `repositories`"),
            (
                "[bot]\nname = \"x\"\nrepositories = [\"a/b\"]\n[bot.acl]\n\
                 [bot.github]\nwebhook_secret_file = \"x\"\n",
                "`[bot.acl]` names nobody",
            ),
        ];
        for (more, says) in table {
            let text = match more.starts_with('[') {
                true => format!("{SMALLEST}{more}"),
                false => format!("{more}{SMALLEST}"),
            };
            let error = read(&text).expect_err(more);
            assert!(error.contains(says), "{error}");
            assert!(error.contains("server.toml"), "{error}");
        }
        let two = SMALLEST.replace("[blobs]", "postgres_env = \"X\"\n[blobs]");
        let error = read(&two).expect_err("two stores");
        assert!(
            error.contains("one of `sqlite`, `postgres_file`"),
            "{error}"
        );
    }
}
