//! The hostile suite: crates that attack, what must come of each, and whether the host felt it.
//!
//! One attack is one directory in `tests/crates/hostile` (or one archive made by hand) and one line
//! in a table; [`Lab`] runs it as an agent would, over whatever sandbox it is given. A crate that
//! *tries* something fails with the word [`REACHED`] where it gets through, so that its passing is
//! the defence holding; that it fails for no other reason is shown where the defences are taken
//! away one by one (`hostile_docker.rs`).

pub mod archives;
pub mod attacks;
mod host;
mod lab;
mod report;

pub use attacks::Attack;
pub use lab::Lab;

/// What a hostile crate says when it got through.
pub const REACHED: &str = "REACHED";

/// Runs attacks one after the other; what is not as expected fails at the end, all together.
///
/// With `EJECTA_TEST_ATTACK` in the environment only attacks whose names contain it are run.
pub async fn withstand(lab: &Lab, attacks: &[Attack]) {
    let only = std::env::var("EJECTA_TEST_ATTACK").unwrap_or_default();
    let attacks = attacks.iter().filter(|a| a.name.contains(&only));
    let well_behaved = lab.well_behaved().await;
    let mut wrong = Vec::new();
    let mut reported = Vec::new();
    for attack in attacks {
        let found = lab.run(attack).await;
        if let Err(why) = attack.judge(&found) {
            wrong.push(format!("{}: {why}\n{:.4000}", attack.name, found.log));
        }
        if let Err(why) = lab.untouched().and_then(|()| lab.clean(&found.log)) {
            wrong.push(format!("after {}: {why}", attack.name));
        }
        reported.push(found);
    }
    if let Err(why) = report::harmless(&reported) {
        wrong.push(format!("in the report: {why}"));
    }
    let again = lab.well_behaved().await;
    if again != well_behaved {
        wrong.push(format!("the next crate: {again}\nbefore: {well_behaved}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Declares one test for each group of attacks, each on a lab that `$open` gives, if there is one.
#[macro_export]
macro_rules! groups {
    ($open:expr; $($name:ident: $attacks:expr),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if let Some(lab) = $open.await {
                hostile::withstand(&lab, $attacks).await;
                lab.close().await;
            }
        }
    )*};
}

/// Calls a macro with all groups of attacks.
#[macro_export]
macro_rules! every_group {
    ($open:expr) => {
        $crate::groups! { $open;
            excesses_are_stopped: hostile::attacks::EXCESSES,
            hangs_are_stopped: hostile::attacks::HANGS,
            nothing_is_left_behind: hostile::attacks::REMAINS,
            files_of_others_are_out_of_reach: hostile::attacks::FILES,
            nobody_can_be_spoken_to: hostile::attacks::NETWORK,
            no_power_is_gained: hostile::attacks::PRIVILEGES,
            lies_are_not_believed: hostile::attacks::LIES,
            configuration_of_crates_is_not_obeyed: hostile::attacks::CONFIGURATIONS,
            archives_are_not_trusted: hostile::archives::ARCHIVES,
        }
    };
}
