//! Drawing by a seed: the same everywhere and in every version, because the generator's stream is
//! specified (ChaCha8).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws `count` of `items` by `seed`, in the order in which they are drawn; all of them where
/// there are no more. What is drawn depends on the order of `items`: give them sorted.
pub fn draw<T>(mut items: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = count.min(items.len());
    for at in 0..count {
        let left = (items.len() - at) as u64;
        let step = usize::try_from(rng.next_u64() % left).expect("less than a length");
        items.swap(at, at + step);
    }
    items.truncate(count);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_everywhere() {
        let all: Vec<u32> = (0..1000).collect();
        assert_eq!(draw(all.clone(), 5, 1), draw(all.clone(), 5, 1));
        assert_ne!(draw(all.clone(), 5, 1), draw(all.clone(), 5, 2));
        // Written down: another order would be another experiment.
        insta::assert_snapshot!(format!("{:?}", draw(all, 5, 7)));
    }

    #[test]
    fn a_smaller_draw_begins_a_larger_one_and_nothing_is_drawn_twice() {
        let all: Vec<u32> = (0..50).collect();
        let large = draw(all.clone(), 40, 3);
        assert_eq!(draw(all.clone(), 10, 3), large[..10]);
        let mut everything = draw(all.clone(), 99, 3);
        everything.sort_unstable();
        assert_eq!(everything, all);
    }
}
