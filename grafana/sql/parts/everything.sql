-- Which jobs an alert is about: alerts know no variables.
true
