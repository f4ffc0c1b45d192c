# Scores that need only the generations and the references.


rule score:
    input:
        inputs_of_score,
    output:
        update("results/{subject}/eval/{evaluation}/scores/{family}-{key}.json"),
    log:
        "results/logs/score/{subject}/{evaluation}/{family}-{key}.log",
    wildcard_constraints:
        family=any_of(name for name, family in REGISTRY.families.items() if not family.needs_model),
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory_after(attempts_of("score", "{subject}/eval/{evaluation}/{family}"), memory_of_score),
        runtime=minutes_after(attempts_of("score", "{subject}/eval/{evaluation}/{family}"), minutes_of_score),
    params:
        answers=answers_in_words,
        study=STUDY_FILE,
    message:
        in_log("score the {wildcards.family} of {params.answers}")
    shell:
        "exec python -m loragrid score --study {params.study:q} --family {wildcards.family}"
        " results/{wildcards.subject}/eval/{wildcards.evaluation} >> {log} 2>&1"
