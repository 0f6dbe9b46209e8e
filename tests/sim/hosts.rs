//! Two hosts that make one channel together, on virtual time: A is made on the first, B on the second, from the same feed, and each publishes
//! to the other. Hosts die and come back, the way between them is cut, the feed jumps or begins anew: one thing at a time.
//!
//! Promised: who watches a host that lives sees every frame of the programme once, in its place, whatever becomes of the other one; nothing
//! is a gap; and when both are back and have had some seconds, they make equal bytes again, without anybody being started again for that.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tandem::channel::{Action, Channel, Generation, Input, Made, Published, Said};
use tandem::clock::{self, Now};
use tandem::config::{self, Redundancy};
use tandem::encode::ipc::ToWorker;
use tandem::ingest::IngestEvent;
use tandem::media::{Grid, Item, PipelineId, SegmentNumber, SourceName};
use tandem::monitor::{ChannelStatus, EventKind, IngestStatus};

use super::encoder::Encoder;
use super::programme::{FRAME_MS, Stream, read_picture, read_sound};
use super::rng::Rng;
use super::script::{HEAD_FRAMES, Mode, STEP_MS, Script};
use super::viewer::Viewer;
use super::world;

/// A host listens 3 s for the other one, and is in lock some segments later.
const SETTLES_MS: u64 = 14_000;
/// Between a fault's end and the next one.
const REST_MS: u64 = 22_000;
const LENGTH_MS: u64 = 150_000;

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A main process is killed, its encode process with it, and is back so much later.
    Dies { host: usize, ms: u64 },
    /// Nothing gets from one host to the other.
    Cut { ms: u64 },
    /// The feed's times jump.
    Jump { by_s: i64 },
    /// The feed pauses, and its times jump meanwhile: how long it paused either host finds by itself.
    Pause { by_s: i64, ms: u64 },
    /// The feed ends, and comes back on another timeline; one host gets it later.
    Anew { by_s: i64, ms: u64, late: usize },
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    equal: u64,
    deaths: u64,
    moves: u64,
    apart: u64,
    adopted: u64,
}

/// A host while it lives.
struct Life {
    channel: Channel,
    channel_grid: Grid,
    process: Option<(Generation, Encoder)>,
    connected: bool,
    words: VecDeque<Input>,
    status: Option<std::sync::Arc<ChannelStatus>>,
    viewer: Viewer,
    /// Frame less slot.
    offset: Option<i64>,
    /// Where pictures and sound were put that went to the encode process last, less what their numbers would be.
    placed: [Option<i64>; 2],
    /// From then on all is to be seen.
    whole_from: u64,
}

struct Host {
    life: Option<Life>,
    delay_ms: u64,
    up_at: u64,
    /// On the way: when it arrives.
    on_the_way: VecDeque<(u64, Input)>,
    feed: VecDeque<(u64, Bytes)>,
}

struct World {
    script: Script,
    t0: Now,
    rng: Rng,
    hosts: [Host; 2],
    streams: BTreeMap<u64, Stream>,
    base: u64,
    faults: VecDeque<(u64, Fault)>,
    cut_until: u64,
    feed_from: u64,
    /// Hosts need not agree before; never before the second one.
    agree_from: u64,
    agree_never_before: u64,
    /// What lies before, ms since the world began, may be made up.
    steady_from: u64,
    /// Until then another timeline may put the programme elsewhere.
    anew_until: u64,
    outcome: Outcome,
    log: VecDeque<String>,
}

fn faults(rng: &mut Rng) -> VecDeque<(u64, Fault)> {
    let (mut at, mut all) = (SETTLES_MS + 6000, VecDeque::new());
    while at + REST_MS < LENGTH_MS {
        let ms = rng.range(20, 700) * STEP_MS;
        let by_s = [3600, -3600, 7, -7][rng.range(0, 4) as usize];
        let fault = match rng.range(0, 8) {
            0..4 => Fault::Dies { host: rng.range(0, 2) as usize, ms },
            4 => Fault::Cut { ms },
            5 => Fault::Jump { by_s },
            _ => Fault::Anew { by_s: by_s * 5, ms, late: rng.range(0, 2) as usize },
        };
        all.push_back((at + rng.range(0, 200) * STEP_MS, fault));
        at += ms + REST_MS;
    }
    all
}

impl World {
    fn new(seed: u64) -> Self {
        let script = Script::new(Mode::Single, Redundancy::Hot, seed);
        let mut rng = Rng::new(seed ^ 0x2057);
        let utc = Duration::from_millis(1_795_269_600_000 + rng.range(0, 2000));
        // Skews that put the first picture anywhere in a slot, and one host a little later than the other.
        let host = |rng: &mut Rng| Host {
            life: None,
            delay_ms: 100 + rng.range(0, 25) * STEP_MS,
            up_at: rng.range(0, 60) * STEP_MS,
            on_the_way: VecDeque::new(),
            feed: VecDeque::new(),
        };
        Self {
            t0: Now { mono: clock::now().mono, utc },
            hosts: [host(&mut rng), host(&mut rng)],
            streams: BTreeMap::new(),
            base: script.base,
            faults: faults(&mut rng),
            cut_until: 0,
            feed_from: 0,
            agree_from: SETTLES_MS,
            agree_never_before: 0,
            steady_from: 0,
            anew_until: 0,
            outcome: Outcome::default(),
            log: VecDeque::new(),
            script,
            rng,
        }
    }

    fn note(&mut self, ms: u64, text: String) {
        if self.log.len() == 80 {
            self.log.pop_front();
        }
        self.log.push_back(format!("{ms:>6} ms  {text}"));
    }

    fn now(&self, ms: u64) -> Now {
        self.t0.after(Duration::from_millis(ms))
    }

    fn step(&mut self, ms: u64) -> Result<(), String> {
        while let Some((_, fault)) = self.faults.pop_front_if(|(at, _)| *at <= ms) {
            self.note(ms, format!("*** {fault:?}"));
            self.suffer(ms, fault);
        }
        self.send(ms);
        for at in 0..2 {
            if self.hosts[at].life.is_none() && self.hosts[at].up_at <= ms {
                self.begin(ms, at);
            }
            self.work(ms, at).map_err(|broken| format!("host {at}: {broken}"))?;
        }
        Ok(())
    }

    fn suffer(&mut self, ms: u64, fault: Fault) {
        let settled = |ended: u64| ended + SETTLES_MS;
        match fault {
            Fault::Dies { host, ms: down } => {
                self.hosts[host].life = None;
                self.hosts[host].on_the_way.clear();
                self.hosts[host].feed.clear();
                self.hosts[host].up_at = ms + down;
                self.agree_from = settled(ms + down);
                self.outcome.deaths += 1;
            }
            Fault::Cut { ms: lasts } => {
                self.cut_until = ms + lasts;
                self.agree_from = settled(ms + lasts);
            }
            Fault::Jump { by_s } => {
                self.move_by(by_s);
                self.agree_from = settled(ms);
                self.anew_until = ms + 4000;
            }
            Fault::Pause { by_s, ms: lasts } => {
                self.move_by(by_s);
                self.feed_from = ms + lasts;
                self.hosts.iter_mut().for_each(|host| host.delay_ms = 100);
                self.agree_from = settled(ms + lasts);
                self.steady_from = ms + lasts + 1500;
            }
            Fault::Anew { by_s, ms: lasts, late } => {
                self.move_by(by_s);
                self.feed_from = ms + lasts;
                for (at, host) in self.hosts.iter_mut().enumerate() {
                    host.feed.clear();
                    if let Some(life) = host.life.as_mut().filter(|life| life.connected) {
                        life.connected = false;
                        let down = IngestEvent::Down { reason: "the feed began anew".to_owned() };
                        life.words.push_back(Input::Source(name(), down));
                    }
                    host.delay_ms = 100 + if at == late { 10 * STEP_MS } else { STEP_MS };
                }
                self.agree_from = settled(ms + lasts);
                self.anew_until = ms + lasts + 8000;
            }
        }
    }

    fn move_by(&mut self, by_s: i64) {
        self.base = (self.base as i64 + by_s * 90_000).rem_euclid(1 << 33) as u64;
    }

    fn begin(&mut self, ms: u64, at: usize) {
        let config = config(&self.script, at);
        let channel_grid = config.grid;
        let channel = Channel::new(config, false, self.now(ms));
        self.note(ms, format!("host {at} begins"));
        self.hosts[at].life = Some(Life {
            channel,
            channel_grid,
            process: None,
            connected: false,
            words: VecDeque::new(),
            status: None,
            viewer: Viewer::default(),
            offset: None,
            placed: [None; 2],
            whole_from: ms + SETTLES_MS,
        });
        // The other one's words of its last life are nobody's.
        let silent = self.said(ms, at, Said::Silent);
        self.hosts[1 - at].on_the_way.push_back(silent);
    }

    /// Of host `from`, on its way to the other one.
    fn said(&mut self, ms: u64, from: usize, said: Said) -> (u64, Input) {
        let peer = Some(format!("192.0.2.{from}:9000"));
        let published = Published { status: IngestStatus { peer, ..IngestStatus::default() }, said: vec![said] };
        let due = ms + 10 + self.rng.range(0, 4) * STEP_MS;
        let due = self.hosts[1 - from].on_the_way.back().map_or(due, |(last, _)| due.max(*last));
        (due, Input::Elsewhere(PipelineId::BOTH[from], Box::new(published)))
    }

    /// The feed sends what is due.
    fn send(&mut self, ms: u64) {
        let age = HEAD_FRAMES * FRAME_MS + ms;
        if !age.is_multiple_of(FRAME_MS) || ms < self.feed_from {
            return;
        }
        let index = age / FRAME_MS;
        let (manner, base) = (self.script.manner, self.base);
        let chunk = self.streams.entry(base).or_insert_with(|| Stream::new(manner, base, index)).chunk(index);
        for host in self.hosts.iter_mut().filter(|host| host.life.is_some()) {
            let jitter = self.rng.range(0, 3) * STEP_MS;
            let due = ms + host.delay_ms + jitter;
            let due = host.feed.back().map_or(due, |(last, _)| due.max(*last));
            host.feed.push_back((due, chunk.clone()));
        }
    }

    fn work(&mut self, ms: u64, at: usize) -> Result<(), String> {
        let now = self.now(ms);
        let Some(mut life) = self.hosts[at].life.take() else { return Ok(()) };
        if !life.connected && !self.hosts[at].feed.is_empty() {
            life.connected = true;
            let up = IngestEvent::Up { peer: "192.0.2.7:9000".to_owned() };
            life.words.push_back(Input::Source(name(), up));
        }
        while let Some((_, data)) = self.hosts[at].feed.pop_front_if(|(due, _)| *due <= ms) {
            life.words.push_back(Input::Source(name(), IngestEvent::Data { arrival: now, data, rtp: None }));
        }
        while let Some((_, input)) = self.hosts[at].on_the_way.pop_front_if(|(due, _)| *due <= ms) {
            if ms >= self.cut_until {
                life.words.push_back(input);
            }
        }
        if let Some((generation, encoder)) = &mut life.process {
            let (id, generation) = (PipelineId::BOTH[at], *generation);
            let words = encoder.step(now).into_iter().map(|word| Input::Encoder(id, generation, word));
            life.words.extend(words);
        }
        let mut ticks = 0;
        loop {
            let input = match life.words.pop_front() {
                Some(input) => input,
                None if life.channel.wake_at(now).mono <= now.mono => {
                    ticks += 1;
                    Input::Tick
                }
                None => break,
            };
            if ticks > 20 {
                return Err("the owner would spin".to_owned());
            }
            for action in life.channel.apply(now, input) {
                self.carry_out(ms, at, &mut life, action)?;
            }
        }
        self.hosts[at].life = Some(life);
        Ok(())
    }

    fn carry_out(&mut self, ms: u64, at: usize, life: &mut Life, action: Action) -> Result<(), String> {
        match action {
            Action::StartEncoder(id, generation, job) => {
                if id != PipelineId::BOTH[at] {
                    return Err(format!("a process for {id}, which is made elsewhere"));
                }
                if generation != Generation(1) {
                    return Err("its encode process was started again".to_owned());
                }
                life.process = Some((generation, Encoder::new(self.script.natures[at], *job, self.now(ms))));
                life.words.push_back(Input::EncoderSpawned(id, generation, 4711));
            }
            Action::Send(_, _, ToWorker::Item(item)) => {
                if let Item::Unit(unit) = &item {
                    let picture = read_picture(&unit.data).map(|it| (0, unit.pts.ticks() - it.frame as i64 * 3600));
                    let first = unit.data.windows(6).position(|w| w == b"sound ").map(|at| &unit.data[at - 7..]);
                    let line = first.and_then(|data| data.split_inclusive(|byte| *byte == b'\n').next());
                    let sound = line.and_then(read_sound).map(|it| (1, unit.pts.ticks() - it * 1920));
                    if let Some((kind, offset)) = picture.or(sound)
                        && life.placed[kind].replace(offset) != Some(offset)
                    {
                        self.note(
                            ms,
                            format!(
                                "host {at}: {} now {offset} ticks from their number's",
                                ["pictures", "sound"][kind]
                            ),
                        );
                    }
                }
                if let Some((_, encoder)) = &mut life.process {
                    encoder.item(item);
                }
            }
            Action::KillEncoder(..) => return Err("its encode process was killed".to_owned()),
            Action::Onward(_, made) => {
                let said = match made {
                    Made::Coded(unit) => Said::Coded(unit),
                    Made::SegmentEnd(end) => Said::SegmentEnd(end),
                    Made::Word(word) => Said::Host(word),
                    Made::Begins(_) | Made::Gone => return Ok(()),
                };
                if self.hosts[1 - at].life.is_some() && ms >= self.cut_until {
                    let said = self.said(ms, at, said);
                    self.hosts[1 - at].on_the_way.push_back(said);
                }
            }
            Action::Publish(snapshot) => {
                for shown in life.viewer.look(&snapshot)? {
                    self.shown(ms, at, life, &shown)?;
                }
            }
            Action::Status(status) => self.status(ms, at, life, status)?,
            Action::Event(event) => {
                if event.kind != EventKind::SourceDamaged {
                    self.note(ms, format!("host {at}: {} {}", event.kind.as_str(), event.text));
                }
                self.outcome.moves += u64::from(event.text.starts_with("moved by"));
                self.outcome.apart += u64::from(event.kind == EventKind::AnchorsDiffer);
                self.outcome.adopted += u64::from(event.text.contains("a timeline the channel knows"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A segment that viewers of a host get.
    fn shown(&mut self, ms: u64, at: usize, life: &mut Life, shown: &super::viewer::Shown) -> Result<(), String> {
        let n = shown.number;
        if shown.gap || shown.stands_in() {
            return if ms < life.whole_from { Ok(()) } else { Err(format!("segment {n} is a gap, or ends in one")) };
        }
        let offsets: Vec<Option<i64>> =
            shown.pictures.iter().map(|(slot, frame)| frame.map(|frame| frame - *slot as i64)).collect();
        let sound: Vec<Option<i64>> = shown.sound.iter().map(|(_, offset)| *offset).collect();
        self.note(ms, format!("host {at}: segment {n} shows {:?}, sounds {:?}", offsets.first(), sound.first()));
        // While the feed was away something has to be made up, and then it may lie elsewhere.
        let begins = life.channel_grid.segment_start(SegmentNumber(n)).to_utc();
        let is_steady = begins >= self.t0.utc + Duration::from_millis(self.steady_from);
        if ms < life.whole_from || !is_steady || ms < self.anew_until {
            life.offset = None;
            return Ok(());
        }
        let Some(Some(first)) = offsets.first().copied() else {
            return Err(format!("segment {n} begins with the slate"));
        };
        let first = *life.offset.get_or_insert(first);
        if offsets.iter().any(|offset| *offset != Some(first)) {
            return Err(format!("segment {n}: a picture is missing, repeated or moved from {first}: {offsets:?}"));
        }
        if sound.iter().any(|offset| offset.is_none() || *offset != sound[0]) {
            return Err(format!("segment {n}: sound is missing or repeated: {sound:?}"));
        }
        Ok(())
    }

    fn status(
        &mut self,
        ms: u64,
        at: usize,
        life: &mut Life,
        status: std::sync::Arc<ChannelStatus>,
    ) -> Result<(), String> {
        let before = life.status.replace(status.clone());
        let both = self.hosts[1 - at].life.is_some();
        // A second for a status that lies across the limit, and two segments that are compared when both are there.
        if both
            && ms >= self.agree_from.max(self.agree_never_before) + 1000
            && self.faults.front().is_none_or(|(next, _)| *next > ms)
        {
            let differs = |status: &ChannelStatus| (status.publish.differs, status.publish.gaps);
            if let Some(before) = before.filter(|before| differs(before) != differs(&status)) {
                return Err(format!("A and B differ: {:?}, before {:?}", status.publish, before.publish));
            }
            self.outcome.equal += u64::from(status.publish.equal > 0);
            let host = status.other_host.clone().unwrap_or_default();
            if !host.heard || host.apart > 0 {
                return Err(format!("{host:?}"));
            }
        }
        Ok(())
    }
}

fn name() -> SourceName {
    SourceName::new("s0").expect("good name")
}

/// Host 0 makes A and gets B, host 1 the other way round.
fn config(script: &Script, at: usize) -> config::Channel {
    let mut config = world::config(script);
    config.sources.truncate(1);
    for (place, pipeline) in config.pipelines.iter_mut().enumerate() {
        let own = place == at;
        pipeline.elsewhere = !own;
        pipeline.sources = if own { vec![name()] } else { Vec::new() };
        let to = config::Publish { to: "http://192.0.2.1/ingest/sim/a".to_owned(), key: None };
        pipeline.publish = if own { vec![to] } else { Vec::new() };
    }
    config
}

fn run(seed: u64) -> Result<Outcome, String> {
    run_through(seed, World::new(seed))
}

fn run_through(seed: u64, mut world: World) -> Result<Outcome, String> {
    for ms in (0..LENGTH_MS).step_by(STEP_MS as usize) {
        if let Err(broken) = world.step(ms) {
            let log: Vec<String> = world.log.drain(..).collect();
            return Err(format!("{}\nseed {seed}, at {ms} ms: {broken}", log.join("\n")));
        }
    }
    Ok(world.outcome)
}

fn seeds(of: u64) {
    let wanted = super::setting("TANDEM_SIM_SEEDS").unwrap_or(super::SEEDS);
    let seeds = super::setting("TANDEM_SIM_SEED").map_or_else(|| (0..wanted).collect(), |only| vec![only]);
    let (mut outcomes, mut failed, mut first) = (Vec::new(), Vec::new(), None);
    for seed in seeds.into_iter().filter(|seed| seed % 2 == of || super::setting("TANDEM_SIM_SEED").is_some()) {
        match run(seed) {
            Ok(outcome) => outcomes.push(outcome),
            Err(text) => {
                failed.push((seed, text.lines().last().unwrap_or_default().to_owned()));
                first.get_or_insert(text);
            }
        }
    }
    if let Some(text) = first {
        panic!("{text}\n\n{} failed: {failed:#?}", failed.len());
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(sum(|o| o.deaths) >= outcomes.len() as u64 && sum(|o| o.adopted) > sum(|o| o.deaths), "{outcomes:#?}");
    assert!(sum(|o| o.equal) > 20 * outcomes.len() as u64, "{outcomes:#?}");
}

#[test]
fn whoever_watches_one_of_two_hosts_sees_nothing_of_the_other_0() {
    seeds(0);
}

#[test]
fn whoever_watches_one_of_two_hosts_sees_nothing_of_the_other_1() {
    seeds(1);
}

/// Neither heard the other one when it began, and each is watched: nothing moves, and nobody sees anything, until one of them begins anew.
#[test]
fn hosts_that_began_alone_stay_as_they_are_while_both_are_watched() {
    let mut apart = 0;
    for seed in 0..8 {
        let mut world = World::new(seed);
        world.faults = VecDeque::from([(0, Fault::Cut { ms: 20_000 }), (60_000, Fault::Dies { host: 0, ms: 2000 })]);
        world.agree_never_before = 62_000 + SETTLES_MS;
        let outcome = run_through(seed, world).unwrap();
        assert_eq!(outcome.moves, 0, "{outcome:?}");
        apart += outcome.apart;
    }
    assert!(apart > 0, "some lay apart");
}

/// By itself either host finds another length for a pause that its source jumps in; the one that began later takes the other one's.
#[test]
fn hosts_find_one_length_for_a_pause() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        let pause = |n: u64| Fault::Pause { by_s: 700, ms: 1000 + 20 * n };
        world.faults = (0..4).map(|n| (20_000 + n * 30_000, pause(n))).collect();
        let outcome = run_through(seed, world).unwrap();
        assert!(outcome.equal > 0, "{outcome:?}");
    }
}
