//! A fleet under faults: real agents and servers, each on a host of its own, both stores. Whatever
//! is done to them, every job has one result in the end, and the report is that of a fleet that was
//! left in peace. `docs/faults.md` says more; `EJECTA_FAULT_SEED` repeats the draws of a failure.

#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/database.rs"]
mod database;
#[path = "faults/dice.rs"]
mod dice;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/messages.rs"]
mod messages;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/proof.rs"]
mod proof;
#[path = "faults/silence.rs"]
mod silence;
#[path = "faults/work.rs"]
mod work;
#[path = "faults/yard.rs"]
mod yard;

use yard::{StoreKind, Yard};

/// Makes a test of each function, over each store.
macro_rules! over_both_stores {
    ($($module:ident::$name:ident)*) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::over(super::StoreKind::Sqlite, stringify!($name), super::$module::$name);
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                super::over(super::StoreKind::Postgres, stringify!($name), super::$module::$name);
            })*
        }
    };
}

over_both_stores! {
    kills::agents_are_killed
    kills::the_server_is_killed
    network::a_cable_is_out_for_less_than_a_lease
    network::a_cable_is_out_for_longer_than_a_lease
    network::a_result_that_comes_too_late_is_refused
    database::the_database_is_killed_while_it_writes
    database::the_database_is_away_for_longer_than_a_lease
    disk::the_disk_of_an_agent_is_full
    messages::answers_are_lost
    messages::results_are_handed_in_twice
    clock::the_clock_of_the_server_jumps
    clock::the_clock_of_an_agent_jumps
    silence::an_agent_that_was_stopped_comes_back_too_late
}

fn over(kind: StoreKind, name: &str, disturb: fn(&mut Yard)) {
    if let Some(mut yard) = Yard::new_or_skip(kind, name) {
        disturb(&mut yard);
    }
}

#[test]
fn one_of_two_servers_is_killed() {
    over(
        StoreKind::Postgres,
        "one_of_two_servers_is_killed",
        kills::one_of_two_servers_is_killed,
    );
}

#[test]
fn agents_with_docker_are_killed() {
    if ejecta_test_support::docker_or_skip() {
        over(
            StoreKind::Sqlite,
            "agents_with_docker_are_killed",
            kills::agents_with_docker_are_killed,
        );
    }
}
