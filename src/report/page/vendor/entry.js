// What the page uses of Observable Plot; the bundler leaves out the rest.
export { barX, dot, line, plot, ruleX, ruleY, text, tickX } from "@observablehq/plot";
