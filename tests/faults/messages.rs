//! Answers that are lost on their way, and requests that come twice.

use std::sync::Mutex;

use ejecta_test_support::{Process, Proxy, Treatment};

use crate::yard::Yard;

const AGENTS: [&str; 2] = ["one", "two"];

fn agents(yard: &Yard, proxy: &Proxy) -> [Process; 2] {
    let address = proxy.address();
    AGENTS.map(|name| yard.fleet.agent_of(&address, name, &["--jobs", "2"]))
}

pub fn answers_are_lost(yard: &mut Yard) {
    let _server = yard.fleet.server();
    // A claim whose answer is lost takes a lease's time, and a third of a job's patience.
    let state = Mutex::new((yard.dice.clone(), 2));
    let proxy = yard.fleet.proxy(move |path| {
        let mut state = state.lock().expect("nobody panics with it");
        let (dice, claims) = &mut *state;
        let lost = match path {
            "/api/v1/submit" => dice.between(0, 2) == 0,
            "/api/v1/heartbeat" | "/api/v1/release" => dice.between(0, 4) == 0,
            "/api/v1/claim" if *claims > 0 && dice.between(0, 4) == 0 => {
                *claims -= 1;
                true
            }
            _ => false,
        };
        if lost {
            Treatment::LoseAnswer
        } else {
            Treatment::Pass
        }
    });
    let _agents = agents(yard, &proxy);
    yard.begin();
    yard.check(&AGENTS);
    let lost = proxy.treated();
    let of = |path: &str| lost.iter().filter(|lost| lost.path == path).count();
    assert!(of("/api/v1/submit") > 0, "{lost:?}");
    let carried_out = |status: &u16| (200..300).contains(status);
    assert!(
        lost.iter()
            .all(|lost| lost.statuses.iter().all(carried_out)),
        "{lost:?}"
    );
}

pub fn results_are_handed_in_twice(yard: &mut Yard) {
    let _server = yard.fleet.server();
    let dice = Mutex::new(yard.dice.clone());
    let proxy = yard.fleet.proxy(move |path| {
        let mut dice = dice.lock().expect("nobody panics with it");
        match path {
            "/api/v1/submit" => dice.one_of(&[Treatment::Twice, Treatment::AtOnce]),
            _ => Treatment::Pass,
        }
    });
    let _agents = agents(yard, &proxy);
    yard.begin();
    yard.check(&AGENTS);
    let twice = proxy.treated();
    assert!(twice.len() >= crate::work::CRATES, "{twice:?}");
    assert!(
        twice.iter().all(|twice| twice.statuses == [200, 200]),
        "a repeat is a success: {twice:?}"
    );
}
