//! The tables of `docs/CAPACITY.md`, and the table of costs in
//! `docs/PERFORMANCE.md`, put between their marks by `make capacity`.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::costs;
use super::need::{ARCHIVED, Habits, Machines, Need, SHORT};
use super::{bus, storm};

/// The rows of the table at the head of the page.
const INSTALLATIONS: [f64; 5] = [1e3, 1e4, 1e5, 1e6, 1e7];

/// The columns of the table of everything.
const USERS: [f64; 3] = [1e5, 1e7, 1e9];

/// Sessions of a simulated storm at most. A larger one is simulated on a cluster that
/// is smaller in the same proportion.
const STORM: f64 = 300_000.0;

/// The flags of `loadtest run` that measure what [`measured`] simulates.
const MEASURED: &str = "--gateways 2 --routers 2 --primaries 1 --filings 2 --readers 1 --cores 1 \
                        --rate 5000 --acks 0.4";

/// Messages in one simulation, about; at least a tenth of a second is simulated.
const MESSAGES: f64 = 100_000.0;

/// `docs/PERFORMANCE.md`, with the costs between its marks `costs`. Fails if the
/// marks are missing.
pub fn put_costs(page: &str) -> Result<String> {
    put(page, "costs", &costs_table()?)
}

/// `docs/CAPACITY.md`, with the tables between its marks `answer` and `need`. Fails
/// if the marks are missing.
pub fn put_tables(page: &str) -> Result<String> {
    put(&put(page, "answer", &answer_table()?)?, "need", &need_table()?)
}

/// `docs/CAPACITY.md`, with the results of simulations between its marks
/// `simulated`. Takes some minutes. Fails if the marks are missing.
pub fn put_simulated(page: &str) -> Result<String> {
    let mut text = String::from("```text\n");
    let outcome = bus::run(&measured())?;
    writeln!(text, "$ loadtest simulate bus {MEASURED}\n{outcome}")?;
    for users in USERS {
        let plan = bus::Plan::of(users);
        let seconds = (MESSAGES / plan.rate).clamp(0.1, 1.0);
        let outcome = bus::run(&bus::Plan { seconds, ..plan })?;
        writeln!(text, "$ loadtest simulate bus --users {users:.0} --seconds {seconds:.1}\n{outcome}")?;
        let outcome = storm::run(&storm::Plan::of(users, STORM))?;
        writeln!(text, "$ loadtest simulate storm --users {users:.0} --most {STORM:.0}\n{outcome}")?;
    }
    put(page, "simulated", &(text.trim_end().to_owned() + "\n```\n"))
}

/// The cluster that was measured at 5,000 direct messages a second, as a plan;
/// [`MEASURED`] has the same as flags.
fn measured() -> bus::Plan {
    bus::Plan {
        gateways: 2,
        routers: 2,
        primaries: 1,
        filings: 2.0,
        readers: 1.0,
        cores: 1.0,
        rate: 5_000.0,
        acks: 0.4,
        ..bus::Plan::of(1e7)
    }
}

/// A document with this text between its marks `<!-- name -->` and `<!-- /name -->`.
/// Fails if one of them is missing.
pub fn put(page: &str, name: &str, text: &str) -> Result<String> {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&open).with_context(|| format!("no mark `{name}`"))?;
    let (_, after) = rest.split_once(&close).with_context(|| format!("no end of `{name}`"))?;
    Ok(format!("{before}{open}{text}{close}{after}"))
}

fn costs_table() -> Result<String> {
    let mut text = String::from("| cost | | measured by |\n| --- | ---: | --- |\n");
    for cost in costs::ALL.iter() {
        writeln!(text, "| {} | {} {} | {} |", cost.of, plain(cost.value), cost.unit, cost.how)?;
    }
    Ok(text)
}

/// How many machines of which kind so many users need: what an operator asks first.
fn answer_table() -> Result<String> {
    let habits = Habits { kept: SHORT, ..Habits::default() };
    let mut text = String::from(
        "| users | online | messages a second | gateways | routers | Redis primaries \
         | busy cores of gateways; routers; Redis | data in Redis | network to and from clients |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for users in INSTALLATIONS {
        let need = Need::of(users, &habits, &Machines::default());
        let cores = [need.gateway_cores, need.router_cores, need.redis_cores].map(busy);
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {}B | {}bit/s |",
            amount(need.users),
            amount(need.sessions),
            amount(need.messages),
            amount(need.gateways),
            amount(need.routers),
            amount(need.primaries),
            cores.join("; "),
            amount(need.redis_bytes),
            amount(need.client_bits),
        )?;
    }
    Ok(text)
}

/// Cores in use, with as many digits as an operator can use.
fn busy(cores: f64) -> String {
    if cores < 0.1 { "< 0.1".to_owned() } else { format!("{cores:.1}") }
}

fn need_table() -> Result<String> {
    let (habits, machines) = (Habits::default(), Machines::default());
    let needs = USERS.map(|users| Need::of(users, &habits, &machines));
    let keeping = |kept| USERS.map(|users| Need::of(users, &Habits { kept, ..habits }, &machines));
    let fewer_days = [
        (format!("the same, {SHORT:.0} days kept"), keeping(SHORT)),
        ("the same, with an archive for what is older than an hour".to_owned(), keeping(ARCHIVED)),
    ];
    let mut text = String::from("| users |");
    for need in &needs {
        write!(text, " {} |", amount(need.users))?;
    }
    text.push_str("\n| --- | ---: | ---: | ---: |\n");
    type Row<'a> = (&'a str, &'a dyn Fn(&Need) -> String);
    let bytes = |value: f64| amount(value) + "B";
    let rows: [Row<'_>; 19] = [
        ("sessions at the peak", &|n| amount(n.sessions)),
        ("messages a second at the peak", &|n| amount(n.messages)),
        ("filings a second (one for each inbox)", &|n| amount(n.filings)),
        ("deliveries a second", &|n| amount(n.deliveries)),
        ("attaches a second", &|n| amount(n.attaches)),
        ("busy cores: gateways", &|n| amount(n.gateway_cores)),
        ("busy cores: routers", &|n| amount(n.router_cores)),
        ("busy cores: Redis", &|n| amount(n.redis_cores)),
        ("**gateways** (4 cores)", &|n| amount(n.gateways)),
        ("**routers** (4 cores)", &|n| amount(n.routers)),
        ("**Redis primaries**, for CPU alone", &|n| amount(n.primaries_for_cpu)),
        ("memory of sessions in gateways", &|n| bytes(n.gateway_bytes)),
        ("data in Redis, 90 days kept", &|n| bytes(n.redis_bytes)),
        ("**Redis primaries** of 24 GiB for that", &|n| amount(n.primaries)),
        ("network between clients and gateways", &|n| amount(n.client_bits) + "bit/s"),
        ("network among gateways, routers and Redis", &|n| amount(n.inner_bits) + "bit/s"),
        ("streams between gateways and routers", &|n| amount(n.links())),
        ("counts a second, routers to gateways (Cluster)", &|n| {
            if n.primaries > 1.0 { amount(n.links()) } else { "0".to_owned() }
        }),
        ("attaches a second at each primary, when one zone of three comes back in 30 s", &|n| {
            amount(n.sessions / 3.0 / 30.0 / n.primaries.min(1_024.0))
        }),
    ];
    for (name, of) in rows {
        write!(text, "| {name} |")?;
        for need in &needs {
            write!(text, " {} |", of(need))?;
        }
        text.push('\n');
        if name.starts_with("**Redis primaries** of") {
            for (name, needs) in &fewer_days {
                write!(text, "| {name} |")?;
                for need in needs {
                    write!(text, " {}B, {} |", amount(need.redis_bytes), amount(need.primaries))?;
                }
                text.push('\n');
            }
        }
    }
    Ok(text)
}

/// A number with at least two digits, and k, M, G, T or P.
fn amount(value: f64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let (mut value, mut unit) = (value, 0);
    while value >= 9_999.5 && unit + 1 < units.len() || unit > 0 && value >= 999.5 {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let whole = (value - value.round()).abs() < 1e-6;
    let text = if value >= 100.0 || whole {
        format!("{value:.0}")
    } else if value >= 10.0 || unit > 0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    if unit == 0 { text } else { format!("{text} {}", units[unit]) }
}

fn plain(value: f64) -> String {
    // The last digits of a median of measured values say nothing.
    let text = if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_the_costs_come_to() {
        let page = include_str!("../../../docs/CAPACITY.md");
        assert!(put_tables(page).unwrap() == page, "docs/CAPACITY.md is of other costs: make capacity");
        let page = include_str!("../../../docs/PERFORMANCE.md");
        assert!(put_costs(page).unwrap() == page, "docs/PERFORMANCE.md has other costs: make capacity");
    }

    #[test]
    fn a_text_goes_between_its_marks_and_nowhere_else() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        assert_eq!(put(page, "x", "new\n").unwrap(), "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
        assert!(put(page, "y", "").is_err());
    }

    #[test]
    fn amounts_have_as_many_digits_as_mean_something() {
        for (value, text) in [
            (0.25, "0.25"),
            (0.019, "0.02"),
            (3.0, "3"),
            (42.1, "42.1"),
            (1_389.0, "1389"),
            (13_889.0, "13.9 k"),
            (2.5e9, "2.5 G"),
        ] {
            assert_eq!(amount(value), text);
        }
    }
}
