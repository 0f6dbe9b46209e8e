// Reads the number that the test signal carries in each picture (src/signal/code.rs): picture k is the one of k ÷ rate seconds
// after the Unix epoch, so that what is on the screen tells how long ago it was filmed.
//
// In:    a video element. Out: seconds between the picture's moment and now; null where no number can be read.
// Never: asks the player.

/** As in the signal's code. */
const RATES = [
  [24000, 1001], [24, 1], [25, 1], [30000, 1001], [30, 1], [48, 1], [50, 1], [60000, 1001], [60, 1], [25, 2], [15, 1], [10, 1],
];
const [WIDTH, HEIGHT] = [280, 180]; // a cell is 10 by 10
const [COLUMNS, TOP] = [26, 148];

const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
const context = canvas.getContext('2d', { willReadFrequently: true });

/** Seconds from the moment a picture was filmed to now, when it is on the screen. */
export function age(video) {
  context.drawImage(video, 0, 0, WIDTH, HEIGHT);
  const at = Date.now() / 1000;
  const { data } = context.getImageData(0, TOP, WIDTH, 20);
  const level = (row, column) => {
    let sum = 0;
    for (let y = row * 10 + 3; y < row * 10 + 7; y++) {
      for (let x = (column + 1) * 10 + 3; x < (column + 1) * 10 + 7; x++) sum += data[(y * WIDTH + x) * 4 + 1];
    }
    return sum / 16;
  };
  const white = (level(0, 0) + level(1, 25)) / 2;
  const black = (level(0, 25) + level(1, 0)) / 2;
  if (white - black < 90) return null;
  const bits = [];
  for (const row of [0, 1]) {
    for (let column = 1; column < COLUMNS - 1; column++) bits.push(level(row, column) > (white + black) / 2 ? 1 : 0);
  }
  const value = some => some.reduce((sum, bit) => sum * 2 + bit, 0);
  if (crc(bits.slice(0, 36)) !== value(bits.slice(36))) return null;
  const rate = RATES[value(bits.slice(32, 36))];
  if (!rate) return null;
  const [number, hertz] = [value(bits.slice(0, 32)), rate[0] / rate[1]];
  // 32 bits come round after years: the index nearest to now.
  const round = 2 ** 32;
  const index = number + Math.round((at * hertz - number) / round) * round;
  return at - index / hertz;
}

/** CRC-12, x¹²+x¹¹+x³+x²+x+1, preset to ones. */
function crc(bits) {
  let sum = 0xfff;
  for (const bit of bits) {
    const top = sum >> 11 & 1;
    sum = sum << 1 & 0xfff;
    if (top ^ bit) sum ^= 0x80f;
  }
  return sum;
}
