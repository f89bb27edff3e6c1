//! When which identity's certificate is to be issued, as a schedule without clock, randomness or I/O.
//!
//! A certificate is replaced at half of its life, some earlier: a node whose pods came together must not ask for all
//! of their certificates together ever after. What cannot be issued is tried again, less and less often; the one in
//! use goes on being used meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use engine::mesh::Identity;
use tokio::time::Instant;

/// The first pause after a failure; each further one is twice as long.
const RENEWAL_RETRY_SECONDS_MIN: u64 = 1;

/// The longest pause after failures: an authority that is back is noticed within this time.
const RENEWAL_RETRY_SECONDS_MAX: u64 = 150;

/// By how much of itself a pause is shortened at most, in percent.
const RENEWAL_JITTER_PERCENT: u64 = 20;

#[derive(Debug, Default)]
pub(crate) struct Renewals {
    due: BTreeMap<Identity, Due>,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    /// How often it failed in a row.
    failures: u32,
    /// The end of the certificate in use.
    expires: Option<Instant>,
}

impl Renewals {
    /// Sets the identities that need a certificate. Those that are new are due now; those that nobody needs any more
    /// are returned.
    pub(crate) fn want(&mut self, wanted: &BTreeSet<Identity>, now: Instant) -> Vec<Identity> {
        let released: Vec<Identity> =
            self.due.keys().filter(|identity| !wanted.contains(*identity)).cloned().collect();
        for identity in &released {
            self.due.remove(identity);
        }
        for identity in wanted {
            if !self.due.contains_key(identity) {
                self.due.insert(identity.clone(), Due { at: now, failures: 0, expires: None });
            }
        }
        released
    }

    /// The identities whose time has come: first those without a certificate, then those that wait the longest.
    pub(crate) fn due(&self, now: Instant) -> Vec<Identity> {
        let mut due: Vec<(&Identity, &Due)> = self.due.iter().filter(|(_, due)| due.at <= now).collect();
        due.sort_by_key(|(_, due)| (due.expires.is_some_and(|expires| expires > now), due.at));
        due.into_iter().map(|(identity, _)| identity.clone()).collect()
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.values().map(|due| due.at).min()
    }

    /// It is being asked for: it is due again only if there is no answer until then.
    pub(crate) fn asked(&mut self, identity: &Identity, until: Instant) {
        if let Some(due) = self.due.get_mut(identity) {
            due.at = until;
        }
    }

    /// A certificate that is good for `lifetime` from now on was issued.
    pub(crate) fn issued(&mut self, identity: &Identity, lifetime: Duration, now: Instant, entropy: u64) {
        if let Some(due) = self.due.get_mut(identity) {
            let expires = Some(now + lifetime);
            *due = Due { at: now + shortened(lifetime / 2, entropy), failures: 0, expires };
        }
    }

    /// None could be issued. The last try is not later than the end of the certificate in use.
    pub(crate) fn failed(&mut self, identity: &Identity, now: Instant, entropy: u64) {
        if let Some(due) = self.due.get_mut(identity) {
            let doubled = RENEWAL_RETRY_SECONDS_MIN << due.failures.min(16);
            let pause = Duration::from_secs(doubled.min(RENEWAL_RETRY_SECONDS_MAX));
            let last = due.expires.filter(|expires| *expires > now);
            due.at = last.into_iter().fold(now + shortened(pause, entropy), Instant::min);
            due.failures = due.failures.saturating_add(1);
        }
    }
}

/// Different each time: enough to spread renewals, and nothing else.
pub(crate) fn entropy() -> u64 {
    RandomState::new().hash_one(())
}

/// The pause, less up to a fifth of it.
fn shortened(pause: Duration, entropy: u64) -> Duration {
    // A thousandth of the range is fine enough to spread thousands of certificates over it.
    let thousandths = u32::try_from(entropy % 1_001).expect("invariant: at most 1,000");
    let range = pause * u32::try_from(RENEWAL_JITTER_PERCENT).expect("invariant: at most 100") / 100;
    pause - range * thousandths / 1_000
}

#[cfg(test)]
mod tests {
    use engine::mesh::TrustDomain;

    use super::*;

    fn identity(account: &str) -> Identity {
        Identity::new(&TrustDomain::new("cluster.local"), "shop", account)
    }

    fn wanted(accounts: &[&str]) -> BTreeSet<Identity> {
        accounts.iter().map(|account| identity(account)).collect()
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn new_identities_are_due_at_once_and_old_ones_released() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        assert!(renewals.want(&wanted(&["cart", "web"]), now).is_empty());
        assert_eq!(renewals.due(now), [identity("cart"), identity("web")]);

        renewals.issued(&identity("cart"), HOUR, now, 0);
        assert_eq!(renewals.want(&wanted(&["cart", "pay"]), now), [identity("web")]);
        assert_eq!(renewals.due(now), [identity("pay")]);
        assert_eq!(renewals.want(&BTreeSet::new(), now).len(), 2);
        assert_eq!(renewals.next(), None);
    }

    #[test]
    fn renewed_at_half_life_at_the_latest() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        renewals.want(&wanted(&["cart"]), now);
        for (entropy, seconds) in [(0, 1_800), (500, 1_620), (1_000, 1_440), (1_001, 1_800)] {
            renewals.issued(&identity("cart"), HOUR, now, entropy);
            assert_eq!(renewals.next(), Some(now + Duration::from_secs(seconds)), "{entropy}");
        }
        let due = now + Duration::from_secs(1_800);
        assert!(renewals.due(due - Duration::from_nanos(1)).is_empty());
        assert_eq!(renewals.due(due), [identity("cart")]);
    }

    #[test]
    fn failures_are_repeated_less_and_less_often() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        renewals.want(&wanted(&["cart"]), now);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            renewals.failed(&identity("cart"), now, 0);
            pauses.extend(renewals.next().map(|next| (next - now).as_secs()));
        }
        assert_eq!(pauses[..9], [1, 2, 4, 8, 16, 32, 64, 128, 150]);
        assert!(pauses[9..].iter().all(|pause| *pause == 150));

        renewals.issued(&identity("cart"), HOUR, now, 0);
        renewals.failed(&identity("cart"), now, 1_000);
        assert_eq!(renewals.next(), Some(now + Duration::from_millis(800)));
    }

    #[test]
    fn the_end_of_a_certificate_is_not_slept_through() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        let seconds = |seconds| Duration::from_secs(seconds);
        renewals.want(&wanted(&["cart"]), now);
        renewals.issued(&identity("cart"), seconds(100), now, 0);
        for _ in 0..7 {
            renewals.failed(&identity("cart"), now, 0);
        }
        assert_eq!(renewals.next(), Some(now + seconds(64)));
        renewals.failed(&identity("cart"), now + seconds(64), 0);
        assert_eq!(renewals.next(), Some(now + seconds(100)));
        renewals.failed(&identity("cart"), now + seconds(100), 0);
        assert_eq!(renewals.next(), Some(now + seconds(250)));
    }

    #[test]
    fn what_is_asked_for_is_not_asked_for_again_at_once() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        renewals.want(&wanted(&["cart"]), now);
        renewals.asked(&identity("cart"), now + HOUR);
        assert!(renewals.due(now).is_empty());
        assert_eq!(renewals.due(now + HOUR), [identity("cart")]);
        renewals.failed(&identity("cart"), now, 0);
        assert_eq!(renewals.next(), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn who_has_none_goes_first_and_then_who_waits_the_longest() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        renewals.want(&wanted(&["a", "b", "c", "d"]), now);
        for (account, hours) in [("a", 6), ("b", 4), ("c", 2)] {
            renewals.issued(&identity(account), HOUR * hours, now, 0);
        }
        let later = now + HOUR * 3;
        assert_eq!(renewals.due(later), ["d", "c", "b", "a"].map(identity));
    }

    #[test]
    fn an_answer_for_a_released_identity_changes_nothing() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        renewals.issued(&identity("cart"), HOUR, now, 0);
        renewals.failed(&identity("cart"), now, 0);
        assert_eq!(renewals.next(), None);
    }
}
