//! Channels on real clusters: whatever is published reaches every subscriber
//! once and in order, on every node, over every transport, and after faults.
//!
//! In reading order: [`scene`] (who publishes and who reads), [`two_way`],
//! [`one_way`] (the `channels` parameter and the cursor), [`faults`], [`crowd`].

mod crowd;
mod faults;
mod one_way;
mod scene;
mod two_way;
