#!/usr/bin/env node
// Plays a live address in a real player in headless Chromium, as a viewer would, and prints what came of it.
//
//     node play.mjs --player hlsjs|shaka-hls|shaka-dash|dashjs --url URL [--seconds 60] [--rate 25] [--codec av01]
//         [--screenshot FILE]
//
// Prints one JSON object; `faults` lists what is wrong. Says `playing` on the error stream once the playhead moves.
// SIGUSR2 ends it before its time.
// Exit: 0 no fault, 1 faults, 2 could not look. `CHROMIUM` names another browser than `chromium` on the path.

import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { SCRIPTS } from './players.mjs';
import { faults, START_MS } from './verdict.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const USAGE = `usage: play.mjs --player ${Object.keys(SCRIPTS).join('|')} --url URL [--seconds 60] [--rate 25] [--codec av01] [--screenshot FILE]`;
const FLAGS = [
  '--autoplay-policy=no-user-gesture-required',
  // No device is asked to play; the page still hears the sound.
  '--mute-audio',
  '--disable-gpu',
  '--disable-quic',
  // Loopback only: the browser looks up no host, its own services' neither.
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
];

/** Errors kept of each kind; a page without a server makes many a second. */
const ERRORS_MAX = 20;

function refuse(why) {
  console.error(why);
  process.exit(2);
}

function options() {
  const text = { type: 'string' };
  const spec = { player: text, url: text, seconds: { ...text, default: '60' }, rate: text, codec: text, screenshot: text };
  let values;
  try {
    ({ values } = parseArgs({ options: spec }));
  } catch (e) {
    refuse(`${e.message}\n${USAGE}`);
  }
  const seconds = Number(values.seconds);
  const rate = values.rate === undefined ? undefined : Number(values.rate);
  if (!SCRIPTS[values.player] || !values.url || !(seconds > 0) || (rate !== undefined && !(rate > 0))) refuse(USAGE);
  return { ...values, seconds, rate };
}

function browser() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const found = folders.map(folder => path.join(folder, 'chromium')).find(existsSync);
  return found ?? refuse('`chromium` is not installed: run `make deps-test`');
}

/** Serves the page and the player on a loopback port. */
async function serve(player) {
  const files = {
    '/': ['page.html', 'text/html'],
    '/page.mjs': ['page.mjs', 'text/javascript'],
    '/players.mjs': ['players.mjs', 'text/javascript'],
    '/clock.mjs': ['clock.mjs', 'text/javascript'],
    '/player.js': [path.join('node_modules', SCRIPTS[player]), 'text/javascript'],
  };
  const server = createServer((request, response) => {
    if (request.url === '/time') return response.end(new Date().toISOString());
    const [name, type] = files[request.url] ?? [];
    if (!name) return response.writeHead(404).end();
    response.setHeader('Content-Type', type);
    createReadStream(path.join(HERE, name)).pipe(response);
  });
  await new Promise(listening => server.listen(0, '127.0.0.1', listening));
  return server;
}

/** What went wrong on the wire and in the page, gathered while it plays. */
function witness(page) {
  const heard = { http_errors: [], page_errors: [], requests: 0, blocked: 0, manifests: 0, patches: 0, asked_most: null };
  const asked = new Map();
  page.on('request', r => {
    heard.requests += 1;
    if (/[?&]_HLS_msn=/.test(r.url())) heard.blocked += 1;
    // Playlists and manifests are asked for again and again; media is not.
    if (!/\.(m4s|ts)(\?|$)/.test(r.url())) return;
    const times = (asked.get(r.url()) ?? 0) + 1;
    asked.set(r.url(), times);
    if (times > (heard.asked_most?.times ?? 0)) heard.asked_most = { times, url: r.url() };
  });
  const note = (list, text) => list.length < ERRORS_MAX && list.push(text);
  page.on('response', r => {
    // Whole manifests of DASH, and what changed in them.
    if (r.status() === 200 && /\.mpd(\?|$)/.test(r.url())) heard.manifests += 1;
    if (r.status() === 200 && /\.mpp(\?|$)/.test(r.url())) heard.patches += 1;
  });
  page.on('response', r => r.status() >= 400 && note(heard.http_errors, `${r.status()} ${r.url()}`));
  page.on('requestfailed', r => {
    const why = r.failure()?.errorText;
    // Players abort requests of their own when they change renditions.
    if (why !== 'net::ERR_ABORTED') note(heard.http_errors, `${why} ${r.url()}`);
  });
  page.on('pageerror', e => note(heard.page_errors, e.message));
  page.on('crash', () => note(heard.page_errors, 'the page crashed'));
  return heard;
}

const enough = new Promise(told => process.once('SIGUSR2', told));

async function play({ player, url, seconds, codec, screenshot }, chromium) {
  const server = await serve(player);
  const chrome = await chromium.launch({ executablePath: browser(), headless: true, args: FLAGS });
  try {
    const page = await chrome.newPage();
    const heard = witness(page);
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(([player, url, codec]) => void window.watch(player, url, codec), [player, url, codec]);
    const started = page.waitForFunction(() => window.hasStarted(), null, { timeout: START_MS, polling: 50 });
    if (await started.then(() => true, () => false)) {
      console.error('playing');
      await Promise.race([page.waitForTimeout(seconds * 1000), enough]);
    }
    if (screenshot) await page.screenshot({ path: screenshot });
    return { ...(await page.evaluate(() => window.report())), ...heard };
  } finally {
    await chrome.close();
    server.close();
  }
}

const asked = options();
const { chromium } = await import('playwright-core').catch(() => refuse('node_modules is missing: run `npm ci` in tests/players'));
const report = await play(asked, chromium).catch(e => refuse(`could not look: ${e.stack ?? e}`));
const found = faults(report, asked);
const { player, url, seconds } = asked;
console.log(JSON.stringify({ player, url, seconds, clean: found.length === 0, faults: found, ...report }, null, 1));
process.exit(found.length === 0 ? 0 : 1);
