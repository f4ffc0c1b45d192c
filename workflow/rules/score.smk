# Scores that need only the generations and the references.


rule score:
    input:
        inputs_of_score,
    output:
        "results/{subject}/eval/{evaluation}/scores/{family}-{key}.json",
    log:
        "results/logs/score/{subject}/{evaluation}/{family}-{key}.log",
    wildcard_constraints:
        family=any_of(name for name, family in REGISTRY.families.items() if not family.needs_model),
    retries: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory_of_score,
        runtime=minutes_of_score,
    params:
        answers=answers_in_words,
        study=STUDY_FILE,
    message:
        in_log("score the {wildcards.family} of {params.answers}")
    shell:
        "python -m loragrid score --study {params.study:q} --family {wildcards.family}"
        " results/{wildcards.subject}/eval/{wildcards.evaluation} > {log} 2>&1"
