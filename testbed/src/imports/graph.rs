//! Groups and chains in a graph of names. Small graphs: nothing here is fast.

use std::collections::{BTreeMap, BTreeSet};

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The nodes in groups: two are in one when each can be reached from the other.
pub(super) fn groups(edges: &Edges) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        edges.keys().map(|node| (node, reached(edges, node))).collect();
    let mut groups: Vec<Vec<String>> = Vec::new();
    for (&node, reached) in &reach {
        let group =
            groups.iter_mut().find(|group| reached.contains(&group[0]) && reach[&group[0]].contains(node));
        match group {
            Some(group) => group.push(node.clone()),
            None => groups.push(vec![node.clone()]),
        }
    }
    groups
}

/// What can be reached from `start`.
fn reached<'a>(edges: &'a Edges, start: &'a String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        open.extend(edges[node].iter().filter(|next| reached.insert(*next)));
    }
    reached
}

/// The longest way from group to group.
pub(super) fn longest_chain(edges: &Edges, groups: &[Vec<String>]) -> Vec<Vec<String>> {
    let group_of: BTreeMap<&String, usize> =
        (0..groups.len()).flat_map(|group| groups[group].iter().map(move |node| (node, group))).collect();
    let mut chains = vec![None; groups.len()];
    for group in 0..groups.len() {
        chain_from(group, edges, groups, &group_of, &mut chains);
    }
    // The first of those that are equally long.
    let longest = chains.into_iter().flatten().rev().max_by_key(Vec::len).unwrap_or_default();
    longest.into_iter().map(|group| groups[group].clone()).collect()
}

/// The longest way that begins with `group`. `known` keeps what was found.
fn chain_from(
    group: usize,
    edges: &Edges,
    groups: &[Vec<String>],
    group_of: &BTreeMap<&String, usize>,
    known: &mut [Option<Vec<usize>>],
) -> Vec<usize> {
    if let Some(chain) = &known[group] {
        return chain.clone();
    }
    let next: BTreeSet<usize> =
        groups[group].iter().flat_map(|node| &edges[node]).map(|node| group_of[node]).collect();
    let rest = next.into_iter().filter(|next| *next != group);
    let rest: Vec<Vec<usize>> = rest.map(|next| chain_from(next, edges, groups, group_of, known)).collect();
    let rest = rest.into_iter().rev().max_by_key(Vec::len).unwrap_or_default();
    let chain: Vec<usize> = std::iter::once(group).chain(rest).collect();
    known[group] = Some(chain.clone());
    chain
}
