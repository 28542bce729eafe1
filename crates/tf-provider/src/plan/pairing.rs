//! Which element of one set is which of another: elements of sets have neither order nor name.

/// For each of `ones` the position of its partner among `others`, each of which is taken once. Where several would do,
/// the first is taken; those that come later take what is left, or move an earlier one to another partner.
pub(super) fn pairs<A, B>(ones: &[A], others: &[B], fits: impl Fn(&A, &B) -> bool) -> Vec<Option<usize>> {
    let candidates: Vec<Vec<usize>> = ones
        .iter()
        .map(|one| others.iter().enumerate().filter(|(_, other)| fits(one, other)).map(|(index, _)| index).collect())
        .collect();
    let mut taken_by = vec![None; others.len()];
    for one in 0..ones.len() {
        let mut tried = vec![false; others.len()];
        take(one, &candidates, &mut taken_by, &mut tried);
    }
    let mut partners = vec![None; ones.len()];
    for (other, one) in taken_by.into_iter().enumerate() {
        if let Some(one) = one {
            partners[one] = Some(other);
        }
    }
    partners
}

/// Finds a partner for `one`, moving others along a chain where that makes room.
fn take(one: usize, candidates: &[Vec<usize>], taken_by: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for &other in &candidates[one] {
        if std::mem::replace(&mut tried[other], true) {
            continue;
        }
        let free = match taken_by[other] {
            None => true,
            Some(holder) => take(holder, candidates, taken_by, tried),
        };
        if free {
            taken_by[other] = Some(one);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_as_many_as_can_be() {
        let even = |one: &i32, other: &i32| (one + other) % 2 == 0;
        assert_eq!(pairs(&[1, 2, 3], &[4, 5], even), [Some(1), Some(0), None]);
        // The first would do for both; the second one has no other.
        let table = [[true, true], [true, false]];
        let fits = |one: &usize, other: &usize| table[*one][*other];
        assert_eq!(pairs(&[0, 1], &[0, 1], fits), [Some(1), Some(0)]);
        assert_eq!(pairs::<i32, i32>(&[], &[1], |_, _| true), []);
    }
}
