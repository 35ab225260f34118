// What the JavaScript clients share: scenarios are tried one after another, and a line is printed for each.
'use strict';

exports.run = async function (names, seconds, scenario) {
  for (const name of names) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('took too long')), seconds * 1000);
    });
    try {
      await Promise.race([scenario(name), late]);
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAILED ${name}: ${String(error.message).replace(/\s+/g, ' ').slice(0, 400)}`);
    }
    clearTimeout(timer);
  }
  process.exit(0);
};
