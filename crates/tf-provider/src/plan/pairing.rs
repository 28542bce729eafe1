//! Pairs the elements of two sets, which have neither order nor name.

/// Returns, for each of `ones`, the position of its partner among `others`, which are used once each. If several
/// partners fit, the first is used. A later element gets a remaining partner, or moves an earlier element to another
/// partner.
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

/// A function that returns true if two elements may be a pair.
pub(super) type Rule<'a, A, B> = &'a dyn Fn(&A, &B) -> bool;

/// Pairs elements by one rule after the other. A later rule only pairs elements that the earlier rules left.
pub(super) fn pairs_by_rank<A, B>(ones: &[A], others: &[B], rules: &[Rule<'_, A, B>]) -> Vec<Option<usize>> {
    let mut partners = vec![None; ones.len()];
    for rule in rules {
        let open: Vec<usize> = (0..ones.len()).filter(|one| partners[*one].is_none()).collect();
        let free: Vec<usize> = (0..others.len()).filter(|other| !partners.contains(&Some(*other))).collect();
        let found = pairs(&open, &free, |one, other| rule(&ones[*one], &others[*other]));
        for (one, partner) in open.into_iter().zip(found) {
            partners[one] = partner.map(|partner| free[partner]);
        }
    }
    partners
}

/// Finds a partner for `one`. Moves other elements along a chain if that frees a partner.
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
        // The first partner fits both elements; the second element has no other partner.
        let table = [[true, true], [true, false]];
        let fits = |one: &usize, other: &usize| table[*one][*other];
        assert_eq!(pairs(&[0, 1], &[0, 1], fits), [Some(1), Some(0)]);
        assert_eq!(pairs::<i32, i32>(&[], &[1], |_, _| true), []);
    }

    #[test]
    fn a_better_rule_goes_first() {
        let (same, any) = (|one: &i32, other: &i32| one == other, |_: &i32, _: &i32| true);
        assert_eq!(pairs_by_rank(&[1, 2, 3], &[3, 2], &[&same, &any]), [None, Some(1), Some(0)]);
        assert_eq!(pairs_by_rank(&[1, 2, 3], &[3, 4], &[&same, &any]), [Some(1), None, Some(0)]);
    }
}
