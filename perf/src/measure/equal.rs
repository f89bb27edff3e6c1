//! Equal cipher suites: a peer that negotiates another one by default is compared with ringway as it comes, and with ringway
//! told to negotiate the peer's. Nobody has to ask for it.

use anyhow::{Context, Result};

use super::{Order, start};
use crate::record::{Encryption, LeftOut};
use crate::report::roles::is_ringway;
use crate::site::Layout;
use crate::target::Target;

/// Puts behind the first ringway of the order one for each suite of its peers that is not its own. Where that can't be
/// had, as of a build that does not let one choose, that is noted.
pub(super) fn stand_beside(order: &mut Order, left_out: &mut Vec<LeftOut>) -> Result<()> {
    let peers: Vec<&dyn Target> = tunnels(order).filter(|target| !is_ringway(target.name())).collect();
    let Some(ringway) = tunnels(order).find(|target| is_ringway(target.name())) else { return Ok(()) };
    if peers.is_empty() {
        return Ok(());
    }
    let own = negotiated(&order.layout, ringway)?;
    let mut equal: Vec<Box<dyn Target>> = Vec::new();
    for peer in peers {
        let other = negotiated(&order.layout, peer)?.filter(|suite| Some(suite) != own.as_ref());
        let Some(target) = other.and_then(|suite| ringway.with_suite(&suite)) else { continue };
        let mut known = order.targets.iter().chain(&equal);
        if known.any(|known| known.name() == target.name()) {
            continue;
        }
        match negotiated(&order.layout, target.as_ref()) {
            Ok(_) => equal.push(target),
            Err(error) => {
                left_out.push(LeftOut { what: target.name().to_owned(), reason: format!("{error:#}") });
            }
        }
    }
    let behind = 1 + order.targets.iter().take_while(|target| target.name() != ringway.name()).count();
    order.targets.splice(behind..behind, equal);
    Ok(())
}

fn tunnels(order: &Order) -> impl Iterator<Item = &dyn Target> {
    let targets = order.targets.iter().map(AsRef::as_ref);
    targets.filter(|target: &&dyn Target| target.encryption() == Encryption::Tunnel)
}

/// The suite that it takes, on a site of its own.
fn negotiated(layout: &Layout, target: &dyn Target) -> Result<Option<String>> {
    let stand = start(layout, target).with_context(|| target.name().to_owned())?;
    Ok(stand.suite)
}
