//! `ejecta`: the command line. It puts the parts together; each subcommand is a file.

mod agent;
mod cli;
mod compare;
mod error;
mod exit;
mod experiment;
mod http;
mod planner;
mod replay;
mod report;
mod run;
mod server;
mod token;
mod watch;

use std::io::Write as _;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Command, DenylistCommand};
use ejecta_agent::sandbox::native;
use error::Failure;
use exit::Exit;

fn main() -> Exit {
    become_helper_if_asked();
    let cli = Cli::parse();
    work(cli).unwrap_or_else(|failure| {
        let style = anstyle::AnsiColor::Red.on_default().bold();
        let _ = writeln!(anstream::stderr(), "{style}error{style:#}: {failure}");
        failure.exit()
    })
}

fn work(cli: Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::to(format!("start the runtime: {e}")))?;
    let traces = watch::start(&cli, runtime.handle())?;
    let ended = runtime.block_on(dispatch(cli.command));
    traces.end();
    ended
}

/// The native sandbox starts this executable again for what an agent cannot do to itself. That has
/// to come before anything else that this process does.
fn become_helper_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(native::INIT_ARGUMENT) {
        std::process::exit(native::init_main(arguments));
    }
}

async fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => return run::run(&args).await,
        Command::Replay(args) => return replay::replay(&args).await,
        Command::Compare(args) => print(&compare::compare(&args)?)?,
        Command::Report(args) => print(&report::report(&args).await?)?,
        Command::Crates(args) => {
            let mut tell = |note: String| {
                let _ = writeln!(
                    anstream::stderr(),
                    "note: {}",
                    ejecta_core::log::clean(&note)
                );
            };
            print(&run::crates(&args, &mut tell).await?)?;
        }
        Command::Server(args) => return server::server(&args).await,
        Command::Agent(args) => return agent::agent(&args).await,
        Command::Token(command) => print(&token::token(&command).await?)?,
        Command::Experiment(command) => {
            let mut tell = |line: &str| print(&format!("{line}\n"));
            return experiment::experiment(&command, &mut tell).await;
        }
        Command::Denylist(DenylistCommand::Check { file }) => check_denylist(&file)?,
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "ejecta", &mut script);
            print(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(Exit::Nothing)
}

fn check_denylist(file: &Path) -> Result<(), Failure> {
    let list = run::denylist(Some(file))?;
    print(&format!(
        "`{}` is valid: {} crates\n",
        file.display(),
        list.len()
    ))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough, such as `head`, is no error.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::to(format!("write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}
