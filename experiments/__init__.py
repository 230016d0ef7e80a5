"""Questions asked of the two halves, each one call, for the command and for notebooks.

study = read_study("study.yaml")
plan = draw_plan(study)
predicted = simulate(study, plan)
comparison = validate(study, Path("out"))
"""
