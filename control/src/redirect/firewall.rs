//! The chains of one family in the namespace of the calling thread, through the `iptables` tools.

use iptables::IPTables;

use super::rules::{Chain, chains};
use super::{Family, Item, RedirectError, Standing};

/// How often the same rule can be in a chain: whoever adds without checking adds a few, not hundreds.
const SAME_RULE_MAX: usize = 64;

pub(super) struct Firewall {
    tables: IPTables,
    family: Family,
}

impl Firewall {
    /// Finds out whether this family can be redirected here at all; if not, why.
    pub(super) fn open(family: Family) -> Result<Self, RedirectError> {
        let tool = family.firewall_tool();
        let unusable = |cause: String| RedirectError::Unusable { tool, cause };
        let mut tables = iptables::new(family == Family::V6).map_err(|error| unusable(error.to_string()))?;
        // Without it, listing a chain looks up host names.
        tables.set_numeric(true);
        let firewall = Self { tables, family };
        for table in ["mangle", "nat"] {
            firewall.listing(table, None).map_err(|error| unusable(error.to_string()))?;
        }
        Ok(firewall)
    }

    /// Puts in what is missing. Chains are filled before they are jumped to: at no time does half of a chain decide.
    pub(super) fn add(&self) -> Result<(), RedirectError> {
        for chain in chains(self.family) {
            self.fill(&chain)?;
        }
        for chain in chains(self.family) {
            if !self.exists(&chain, chain.hook, &chain.jump())? {
                let done = self.tables.append(chain.table, chain.hook, &chain.jump());
                self.checked(done, || {
                    format!("append {} to {} of {}", chain.jump(), chain.hook, chain.table)
                })?;
            }
        }
        Ok(())
    }

    /// Takes out everything, going on past what fails: the first failure is returned.
    pub(super) fn remove(&self) -> Result<(), RedirectError> {
        let chains = chains(self.family);
        let jumps = chains.iter().map(|chain| self.delete_jumps(chain));
        let emptied = chains.iter().map(|chain| self.delete_chain(chain));
        // `fold` rather than `collect`, which would stop at the first failure.
        jumps.chain(emptied).fold(Ok(()), Result::and)
    }

    /// What is there of each rule, in the order of the contract.
    pub(super) fn items(&self) -> Result<Vec<Item>, RedirectError> {
        let mut items = Vec::new();
        let tool = self.family.firewall_tool();
        for chain in chains(self.family) {
            let in_order = self.in_order(&chain)?;
            for rule in &chain.rules {
                let standing = match self.exists(&chain, chain.name, rule)? {
                    true if in_order => Standing::Present,
                    true => Standing::Misplaced,
                    false => Standing::Missing,
                };
                items.push(Item {
                    text: format!("{tool} -t {} -A {} {rule}", chain.table, chain.name),
                    standing,
                });
            }
            let jump = chain.jump();
            let present = self.exists(&chain, chain.hook, &jump)?;
            let text = format!("{tool} -t {} -A {} {jump}", chain.table, chain.hook);
            items.push(Item { text, standing: Standing::of(present) });
        }
        Ok(items)
    }

    /// Makes the chain hold its rules in their order. What an interrupted start left is completed if it is the
    /// beginning of the chain; anything else is written anew, since the order decides what is redirected.
    fn fill(&self, chain: &Chain) -> Result<(), RedirectError> {
        if !self.chain_exists(chain)? {
            let done = self.tables.new_chain(chain.table, chain.name);
            self.checked(done, || format!("make chain {} in {}", chain.name, chain.table))?;
        }
        let mut present = Vec::new();
        for rule in &chain.rules {
            present.push(self.exists(chain, chain.name, rule)?);
        }
        let mut kept = present.iter().take_while(|present| **present).count();
        if present[kept..].contains(&true) || !self.in_order(chain)? {
            let done = self.tables.flush_chain(chain.table, chain.name);
            self.checked(done, || format!("empty chain {} of {}", chain.name, chain.table))?;
            kept = 0;
        }
        for rule in &chain.rules[kept..] {
            let done = self.tables.append(chain.table, chain.name, rule);
            self.checked(done, || format!("append {rule} to {} of {}", chain.name, chain.table))?;
        }
        Ok(())
    }

    fn delete_jumps(&self, chain: &Chain) -> Result<(), RedirectError> {
        for _ in 0..SAME_RULE_MAX {
            // The check fails as well when the chain is gone, and then no jump to it can be there.
            if !self.exists(chain, chain.hook, &chain.jump())? {
                return Ok(());
            }
            let done = self.tables.delete(chain.table, chain.hook, &chain.jump());
            self.checked(done, || format!("delete {} from {} of {}", chain.jump(), chain.hook, chain.table))?;
        }
        Ok(())
    }

    fn delete_chain(&self, chain: &Chain) -> Result<(), RedirectError> {
        if !self.chain_exists(chain)? {
            return Ok(());
        }
        let done = self.tables.flush_chain(chain.table, chain.name);
        self.checked(done, || format!("empty chain {} of {}", chain.name, chain.table))?;
        let done = self.tables.delete_chain(chain.table, chain.name);
        self.checked(done, || format!("delete chain {} of {}", chain.name, chain.table))
    }

    fn exists(&self, chain: &Chain, within: &str, rule: &str) -> Result<bool, RedirectError> {
        let found = self.tables.exists(chain.table, within, rule);
        self.checked(found, || format!("look for {rule} in {within} of {}", chain.table))
    }

    fn chain_exists(&self, chain: &Chain) -> Result<bool, RedirectError> {
        let found = self.tables.chain_exists(chain.table, chain.name);
        self.checked(found, || format!("look for chain {} in {}", chain.name, chain.table))
    }

    /// Whether the rules that are there stand in their order. Tools that print a rule in other words than ours leave
    /// it out of the comparison.
    fn in_order(&self, chain: &Chain) -> Result<bool, RedirectError> {
        if !self.chain_exists(chain)? {
            return Ok(true);
        }
        let listing = self.listing(chain.table, Some(chain.name))?;
        Ok(in_order(&chain.rules, &listing))
    }

    /// The rules of a chain or a whole table, as the tool prints them.
    fn listing(&self, table: &str, chain: Option<&str>) -> Result<String, RedirectError> {
        let command = format!("-S {}", chain.unwrap_or_default());
        let ran = self.tables.execute(table, command.trim_end());
        let output = self.checked(ran, || format!("list {table}"))?;
        if !output.status.success() {
            let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(self.failed(format!("list {table}"), cause));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn checked<T>(
        &self,
        done: Result<T, Box<dyn std::error::Error>>,
        doing: impl FnOnce() -> String,
    ) -> Result<T, RedirectError> {
        done.map_err(|error| self.failed(doing(), error.to_string()))
    }

    fn failed(&self, doing: String, cause: String) -> RedirectError {
        RedirectError::Tool { tool: self.family.firewall_tool(), doing, cause }
    }
}

/// Whether those of `rules` that the listing of their chain has stand in its order.
fn in_order(rules: &[String], listing: &str) -> bool {
    let lines: Vec<&str> = listing.lines().map(str::trim_end).collect();
    let positions =
        rules.iter().filter_map(|rule| lines.iter().position(|line| line.ends_with(rule.as_str())));
    positions.is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_listing() {
        let rules = ["-j A", "-j B", "-j C"].map(str::to_owned);
        for (listing, expected) in [
            ("", true),
            ("-N X\n-A X -j A\n-A X -j B\n-A X -j C\n", true),
            ("-N X\n-A X -j A\n-A X -j C\n", true),
            ("-N X\n-A X -j Z\n-A X -j A\n-A X -j B\n", true),
            ("-N X\n-A X -j B\n-A X -j A\n", false),
            ("-N X\n-A X -j C\n-A X -j A\n-A X -j B\n", false),
        ] {
            assert_eq!(in_order(&rules, listing), expected, "{listing}");
        }
    }
}
