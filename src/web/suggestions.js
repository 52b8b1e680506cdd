/** Messages to begin with: what a small model that reads well can be asked. @module */

export const suggestions = [
  {
    title: "Find a fact",
    text:
      "Mira works as a glazier and lives in Bergen. Otto works as a pilot and lives in Porto. " +
      "The access code of Mira is 4417. The access code of Otto is 9052.\n\n" +
      "What is the access code of Otto?",
  },
  {
    title: "Follow a variable",
    text: "VAR apple = 48213\nVAR river = VAR apple\nVAR stone = 90417\nVAR lamp = VAR river\n\n" +
      "Find all variables that are assigned the value 48213 in the text above.",
  },
  {
    title: "Sum up a list",
    text: "Summarise the list.\n\n- harbour\n- window\n- candle\n- orchard",
  },
  {
    title: "Collect values",
    text: "One of the secret words of Otto is candle. Rain fell on the harbour all morning. " +
      "One of the secret words of Otto is orchard. One of the secret words of Mira is window. " +
      "Nobody had swept the yard since autumn. One of the secret words of Otto is silver.\n\n" +
      "What are all the secret words of Otto?",
  },
];
