//! Which command goes where: the frequent ones to batchers, in the order in
//! which they come; the rare ones to tasks, a bounded number at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use daemon::trace;
use proto::UserId;
use proto::wire::{Request, reply, request};
use store::Store;
use store::model::{
    Acknowledge, Acknowledged, Attach, Attached, Broadcast, Broadcasted, ChannelPage, ChannelQuery, Detach,
    InboxPage, InboxQuery, Mark, Marked, Post, Posted,
};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::absences::Absences;
use crate::batcher::{Batch, Batcher};
use crate::command::{
    amend, channel, conversations, group, history, kick, marks, presence, send, session, ticket, typing,
};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::link::Responder;
use crate::measured::Measured;
use crate::members::Groups;
use crate::metrics::Metrics;
use crate::nodes;
use crate::pause::Pauses;
use crate::rates::Rates;
use crate::receipts::{Notices, Receipts};
use crate::sweep;
use crate::webhook;

/// Rare commands that talk to the store at the same time.
const RARE_AT_ONCE: usize = 128;
/// Rare commands that wait or run; one more is answered `unavailable` at once.
const RARE_WAITING: usize = 8_192;

/// Between two batches of acknowledgements, for which nobody waits.
const ACKNOWLEDGE_PAUSE: Duration = Duration::from_millis(25);

/// What the links of one router share.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) notices: Notices,
    pub(crate) groups: Groups,
    pub(crate) absences: Absences,
    receipts: Receipts,
    posts: Batcher<Post, Posted>,
    attaches: Batcher<Attach, Attached>,
    detaches: Batcher<Detach, bool>,
    inboxes: Batcher<InboxQuery, InboxPage>,
    acknowledges: Batcher<Acknowledge, Acknowledged>,
    marks: Batcher<Mark, Marked>,
    broadcasts: Batcher<Broadcast, Broadcasted>,
    channels: Batcher<ChannelQuery, ChannelPage>,
    tasks: TaskTracker,
    rare_waiting: Arc<Semaphore>,
    rare_running: Arc<Semaphore>,
    /// Links that are open.
    pub(crate) links: Arc<AtomicU64>,
    pub(crate) pauses: Arc<Pauses>,
    rates: Rates,
    _stop: DropGuard,
}

impl Core {
    /// Starts the loops; they end when this is dropped. `tasks` tracks the
    /// commands that run as tasks.
    pub(crate) fn start(store: Arc<dyn Store>, config: Config, tasks: TaskTracker) -> Self {
        let metrics = Metrics::new();
        let store: Arc<dyn Store> = Arc::new(Measured::new(store, metrics.clone()));
        let stop = CancellationToken::new();
        // Ended by `stop` or by their queues' ends, not waited for: whatever
        // was acknowledged is in the store.
        let loops = TaskTracker::new();
        // A batcher of one of the store's calls.
        macro_rules! batcher {
            ($call:ident) => {
                batcher!($call, Duration::ZERO, Batch::WRITES)
            };
            ($call:ident, $pause:expr, $batch:expr) => {{
                let store = store.clone();
                Batcher::start(stringify!($call), $pause, $batch, &loops, &metrics, move |batch| {
                    let store = store.clone();
                    async move { store.$call(batch).await }
                })
            }};
        }
        // The answer to a batch that is done or not as a whole.
        macro_rules! batcher_of_all {
            ($call:ident) => {{
                let store = store.clone();
                let call = move |batch: Vec<_>| {
                    let store = store.clone();
                    async move {
                        let count = batch.len();
                        store.$call(batch).await.map(|()| vec![(); count])
                    }
                };
                Batcher::start(stringify!($call), Duration::ZERO, Batch::WRITES, &loops, &metrics, call)
            }};
        }
        let notices: Notices = batcher_of_all!(publish);
        let receipts = Receipts::new(metrics.clone());
        let groups = Groups::new(store.clone());
        loops.spawn(receipts.clone().run(store.clone(), groups.clone(), notices.clone(), stop.clone()));
        let absences = Absences::new(metrics.clone());
        loops.spawn(absences.clone().run(store.clone(), notices.clone(), stop.clone()));
        loops.spawn(nodes::run(store.clone(), stop.clone()));
        let pauses = Arc::new(Pauses::new());
        let (beating, ending) = (pauses.clone(), stop.clone());
        loops.spawn(async move { ending.run_until_cancelled(beating.beat()).await });
        loops.spawn(sweep::run(store.clone(), metrics.clone(), stop.clone()));
        if let Some(hook) = config.webhook.clone() {
            loops.spawn(webhook::run(hook, store.clone(), metrics.clone(), stop.clone()));
        }
        Self {
            posts: batcher!(post, config.batch_pause, Batch::WRITES),
            attaches: batcher!(attach, Duration::ZERO, Batch::PAGES),
            detaches: batcher!(detach),
            inboxes: batcher!(read_inbox, Duration::ZERO, Batch::PAGES),
            acknowledges: batcher!(acknowledge, ACKNOWLEDGE_PAUSE, Batch::WRITES),
            marks: batcher!(mark),
            broadcasts: batcher!(broadcast, config.batch_pause, Batch::WRITES),
            channels: batcher!(read_channels, Duration::ZERO, Batch::PAGES),
            receipts,
            notices,
            groups,
            absences,
            tasks,
            rare_waiting: Arc::new(Semaphore::new(RARE_WAITING)),
            rare_running: Arc::new(Semaphore::new(RARE_AT_ONCE)),
            links: Arc::default(),
            pauses,
            rates: Rates::default(),
            store,
            config,
            metrics,
            _stop: stop.drop_guard(),
        }
    }

    /// Sees to it that the request is answered. Does not wait: what comes from
    /// one link goes on in its order.
    pub(crate) fn dispatch(self: &Arc<Self>, request: Request, mut to: Responder) {
        use request::Command;

        let Some(command) = request.command else {
            return to.answer(Err(Error::BadRequest("no command that is known here".to_owned())));
        };
        to.command(name(&command), &request.trace);
        let _span = to.span().enter();
        let user = match UserId::parse(&request.user) {
            Ok(user) => user,
            Err(invalid) => return to.answer(Err(Error::field("user", invalid))),
        };
        let core = self.clone();
        match command {
            Command::Send(send) => {
                let bytes = send.body.len();
                gather(&self.posts, send::post(user, send).map(traced), bytes, to, send::sent);
            }
            Command::Attach(attach) => {
                let notices = self.notices.clone();
                let asked = session::attach(user.clone(), &attach);
                gather(&self.attaches, asked, 0, to, move |outcome| {
                    Ok(session::attached(&user, &attach, outcome, &notices))
                });
            }
            Command::Detach(detach) => {
                let absences = self.absences.clone();
                let asked = session::detach(user.clone(), &detach);
                gather(&self.detaches, asked, 0, to, move |last| {
                    presence::left(user, last, &absences);
                    Ok(done())
                });
            }
            Command::ReadInbox(query) => {
                gather(&self.inboxes, session::query(user, &query), 0, to, |page| Ok(session::page(page)));
            }
            Command::Ack(ack) => {
                let receipts = self.receipts.clone();
                gather(&self.acknowledges, session::acknowledge(user.clone(), &ack), 0, to, move |outcome| {
                    marks::delivered(user, outcome, &receipts)
                });
            }
            Command::Read(read) => {
                let receipts = self.receipts.clone();
                match marks::read(user, &read) {
                    Ok(mark) => gather(&self.marks, Ok(mark.clone()), 0, to, move |outcome| {
                        marks::marked(mark, outcome, &receipts)
                    }),
                    Err(refusal) => to.answer(Err(refusal)),
                }
            }
            Command::Typing(say) => self.run(to, async move { typing::say(&core, user, say).await }),
            Command::History(query) => self.run(to, async move { history::page(&core, user, query).await }),
            Command::Conversations(query) => {
                self.run(to, async move { conversations::page(&core, user, query).await });
            }
            Command::CreateGroup(create) => {
                self.run(to, async move { group::create(&core, user, create).await });
            }
            Command::Members(query) => self.run(to, async move { group::members(&core, user, query).await }),
            Command::AddMembers(add) => self.run(to, async move { group::add(&core, user, add).await }),
            Command::RemoveMember(remove) => {
                self.run(to, async move { group::remove(&core, user, remove).await });
            }
            Command::Rename(rename) => self.run(to, async move { group::rename(&core, user, rename).await }),
            Command::IssueTicket(issue) => self.run(to, async move { ticket::issue(&core, issue).await }),
            Command::RedeemTicket(redeem) => self.run(to, async move { ticket::redeem(&core, redeem).await }),
            Command::ReturnTicket(back) => self.run(to, async move { ticket::give_back(&core, back).await }),
            // In the order in which they come, as messages: one may take back another.
            Command::Edit(asked) => {
                let bytes = asked.body.len();
                gather(&self.posts, amend::edit(user, asked).map(traced), bytes, to, amend::amended);
            }
            Command::Recall(asked) => {
                gather(&self.posts, amend::recall(user, &asked).map(traced), 0, to, amend::amended);
            }
            Command::React(asked) => {
                gather(&self.posts, amend::react(user, asked).map(traced), 0, to, amend::amended);
            }
            Command::Presence(asked) => self.run(to, async move { presence::ask(&core, asked).await }),
            Command::Unwatch(asked) => self.run(to, async move { presence::unwatch(&core, asked).await }),
            Command::Kick(asked) => self.run(to, async move { kick::kick(&core, user, asked).await }),
            Command::Publish(asked) => {
                let bytes = asked.body.len();
                gather(&self.broadcasts, channel::broadcast(user, asked), bytes, to, |done| {
                    Ok(channel::published(done))
                });
            }
            Command::CountRates(asked) => {
                to.answer(self.rates.count(&asked, Instant::now()).map(reply::Result::Counted));
            }
            Command::JoinChannel(asked) => {
                self.run(to, async move { channel::join(&core, user, asked).await })
            }
            Command::LeaveChannel(asked) => {
                self.run(to, async move { channel::leave(&core, user, asked).await })
            }
            Command::ReadChannel(asked) => {
                gather(&self.channels, channel::query(&asked), 0, to, move |page| {
                    Ok(channel::page(&asked.channel, page))
                });
            }
        }
    }

    /// Posts among the others' posts, and waits for the outcome.
    pub(crate) async fn post(&self, post: Post) -> Result<Posted> {
        let (sender, outcome) = oneshot::channel();
        let bytes = post.entries.iter().map(|entry| entry.bytes.len()).sum();
        self.posts.submit(traced(post), bytes, move |answer| {
            // Whoever waited may be gone.
            let _ = sender.send(answer);
        });
        outcome.await.map_err(|_| Error::Internal)?
    }

    /// Runs a rare command as a task.
    fn run(&self, to: Responder, command: impl Future<Output = Result<reply::Result>> + Send + 'static) {
        let Ok(place) = self.rare_waiting.clone().try_acquire_owned() else {
            return to.answer(Err(Error::Unavailable("too much waits for the store")));
        };
        let running = self.rare_running.clone();
        self.tasks.spawn(async move {
            let _running = running.acquire().await.expect("the semaphore is never closed");
            let outcome = to.span().clone().hold(command).await;
            to.answer(outcome);
            drop(place);
        });
    }
}

/// The answer to a command that has none but that it is done.
pub(crate) fn done() -> reply::Result {
    reply::Result::Done(proto::wire::Done {})
}

/// With this thread's place in a trace, if it is in one: readers go on from it.
fn traced(post: Post) -> Post {
    match trace::current() {
        None => post,
        Some(place) => Post { trace: place.wire(), ..post },
    }
}

/// Refuses what cannot be asked, and queues the rest.
fn gather<I, O>(
    queue: &Batcher<I, O>,
    item: Result<I>,
    bytes: usize,
    to: Responder,
    convert: impl FnOnce(O) -> Result<reply::Result> + Send + 'static,
) where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
{
    match item {
        Ok(item) => queue.submit(item, bytes, move |outcome| to.answer(outcome.and_then(convert))),
        Err(refusal) => to.answer(Err(refusal)),
    }
}

fn name(command: &request::Command) -> &'static str {
    use request::Command;
    match command {
        Command::Send(_) => "send",
        Command::Attach(_) => "attach",
        Command::Detach(_) => "detach",
        Command::ReadInbox(_) => "read_inbox",
        Command::Ack(_) => "ack",
        Command::Read(_) => "read",
        Command::Typing(_) => "typing",
        Command::History(_) => "history",
        Command::Conversations(_) => "conversations",
        Command::CreateGroup(_) => "create_group",
        Command::Members(_) => "members",
        Command::AddMembers(_) => "add_members",
        Command::RemoveMember(_) => "remove_member",
        Command::Rename(_) => "rename",
        Command::IssueTicket(_) => "issue_ticket",
        Command::RedeemTicket(_) => "redeem_ticket",
        Command::ReturnTicket(_) => "return_ticket",
        Command::Edit(_) => "edit",
        Command::Recall(_) => "recall",
        Command::React(_) => "react",
        Command::Presence(_) => "presence",
        Command::Unwatch(_) => "unwatch",
        Command::Kick(_) => "kick",
        Command::Publish(_) => "publish",
        Command::JoinChannel(_) => "join_channel",
        Command::LeaveChannel(_) => "leave_channel",
        Command::ReadChannel(_) => "read_channel",
        Command::CountRates(_) => "count_rates",
    }
}
