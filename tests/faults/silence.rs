//! An agent that falls silent for longer than a lease, and does not know of it.

use ejecta_test_support::Signal;

use crate::yard::Yard;

/// Stopped, as a machine that is suspended: its job runs on or not, its result comes when another
/// agent has handed in its own.
pub fn an_agent_that_was_stopped_comes_back_too_late(yard: &mut Yard) {
    let server = yard.fleet.server();
    let one = yard.agent("one");
    yard.begin();
    yard.until("a job with an agent", |shown| {
        shown["jobs"][0]["leased"].as_u64() >= Some(1)
    });
    std::thread::sleep(yard.dice.millis(0, 900));
    one.signal(Signal::STOP);
    let _two = yard.agent("two");
    yard.completed();
    one.signal(Signal::CONT);
    let told = ["a result was refused", "a lease is over"];
    yard.until("told", |_| told.iter().any(|text| one.log().contains(text)));
    yard.check(&["one", "two"]);
    assert!(server.log().contains("a lease was taken away"), "by now");
}
