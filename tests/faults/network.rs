//! Cables that are pulled, and put back.

use crate::yard::{LEASE_MILLIS, Yard};

const AGENTS: [&str; 2] = ["one", "two"];

fn cut_off(yard: &mut Yard, times: u64, from_millis: u64, to_millis: u64) {
    let _server = yard.fleet.server();
    let _agents = AGENTS.map(|name| yard.agent(name));
    yard.begin();
    for _ in 0..times {
        yard.moment();
        let victim = yard.dice.one_of(&AGENTS);
        let time = yard.dice.millis(from_millis, to_millis);
        yard.fleet.network().cut(victim);
        std::thread::sleep(time);
        yard.fleet.network().heal(victim);
    }
    yard.check(&AGENTS);
}

pub fn a_cable_is_out_for_less_than_a_lease(yard: &mut Yard) {
    cut_off(yard, 3, 200, LEASE_MILLIS / 2);
}

pub fn a_cable_is_out_for_longer_than_a_lease(yard: &mut Yard) {
    cut_off(yard, 2, LEASE_MILLIS * 5 / 4, LEASE_MILLIS * 2);
}

/// The agent works on while it reaches nobody; by the time that it does, others have done its work.
pub fn a_result_that_comes_too_late_is_refused(yard: &mut Yard) {
    let server = yard.fleet.server();
    let args = ["--jobs", "2", "--log", "info,ejecta=debug"];
    let mut one = yard.fleet.agent("one", &args);
    yard.begin();
    // By then it has all that it needs, and is not at its end.
    one.wait_for_log("running job=slow-");
    std::thread::sleep(yard.dice.millis(0, 600));
    yard.fleet.network().cut("one");
    let _two = yard.agent("two");
    yard.completed();
    yard.fleet.network().heal("one");
    one.wait_for_log("a result was refused");
    yard.check(&AGENTS);
    assert!(server.log().contains("a lease was taken away"), "by now");
}
